//! One run of an instance: a region, its processes, and the two threads that
//! talk to it. A run begins with a fresh region or with one that an earlier
//! KMON left; guestd may have any number of lives in it.
//!
//! - **E1** The thread of a run has the mapping and the instance's first process.
//!   When it ends, the process has ended, or is left for the next KMON with all
//!   that a later one needs.
//! - **E2** Only the instance's own processes get the region's descriptor.
//! - **E3** Nothing is sent before guestd has greeted this KMON: it would throw
//!   away, as another life's, what it finds in the ring.
//! - **E4** The record of the first process is written before that does anything
//!   (`rundir`, R3), and says halted only after its end.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use kmon_protocol::link::{CommandSender, MonitorLink, Sent, Waiting};
use kmon_protocol::{LinkError, Settings};
use shmem_core::region::Mapping;

use super::outbox::Outbox;
use super::pump::Pump;
use super::shared::Shared;
use super::state::State;
use super::watch::Watch;
use crate::embedded::process::Process;
use crate::embedded::{self, Launch, Newborn};
use crate::notices::Notices;
use crate::rundir::{Kept, Record, RunDir};

/// How often a thread that waits looks whether its run is over.
const GLANCE: Duration = Duration::from_millis(100);
/// Time for what was typed last to leave, when KMON leaves.
const LAST_ORDERS: Duration = Duration::from_millis(500);

/// What a run is made from.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) kmon: PathBuf,
    pub(crate) guestd: PathBuf,
    pub(crate) shell: Option<PathBuf>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) notices: Arc<Notices>,
    pub(crate) rundir: Arc<RunDir>,
}

/// What the front end tells the threads of a run.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    /// Kill the instance.
    kill: AtomicBool,
    /// Let go of it.
    leave: AtomicBool,
    /// The end of the process is what the operator asked for.
    pub(super) halting: AtomicBool,
}

/// A handle on a run; dropping it leaves the instance to the next KMON.
pub(crate) struct Run {
    thread: Option<JoinHandle<()>>,
    flags: Arc<Flags>,
}

impl Run {
    /// Goes on with the instance that `found` says, or starts it afresh; how that
    /// went shows in its state.
    pub(crate) fn start(plan: Plan, found: Option<Kept>) -> anyhow::Result<Self> {
        plan.outbox.clear();
        plan.shared.lock().begin();
        let flags = Arc::<Flags>::default();
        let for_thread = Arc::clone(&flags);
        let thread = std::thread::Builder::new()
            .name(format!("instance {}", plan.settings.partition))
            .spawn(move || live(&plan, found, &for_thread))
            .context("no thread for the instance")?;
        Ok(Self {
            thread: Some(thread),
            flags,
        })
    }

    /// From here on the end of the process is what the operator asked for.
    pub(crate) fn expect_halt(&self) {
        self.flags.halting.store(true, Ordering::Relaxed);
    }

    /// The threads are to let go; dropping it waits for that.
    pub(crate) fn leave(&self) {
        self.flags.leave.store(true, Ordering::Relaxed);
    }

    /// Kills what is still there and waits for the end of the threads.
    pub(crate) fn end(mut self) {
        self.expect_halt();
        self.flags.kill.store(true, Ordering::Relaxed);
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was already reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.leave();
        self.join();
    }
}

impl Flags {
    fn is_over(&self) -> bool {
        self.kill.load(Ordering::Relaxed) || self.leave.load(Ordering::Relaxed)
    }
}

/// The thread of a run (E1).
fn live(plan: &Plan, found: Option<Kept>, flags: &Arc<Flags>) {
    let number = plan.settings.partition;
    if let Some(kept) = found {
        let Err(error) = go_on(plan, &kept, flags) else {
            return;
        };
        plan.notices.say(format!(
            "instance {number} of an earlier KMON is lost ({error:#}); it is started afresh"
        ));
        embedded::kill(&kept);
    }
    if let Err(error) = start(plan, flags) {
        plan.shared.lock().state = State::Dead(format!("{error:#}"));
        plan.shared.announce();
        plan.notices
            .say(format!("instance {number} was not started: {error:#}"));
    }
}

/// Goes on with an instance that an earlier KMON started, to the end of the run.
///
/// # Errors
///
/// It is not there any more, or its region is none; nothing was done.
fn go_on(plan: &Plan, kept: &Kept, flags: &Arc<Flags>) -> anyhow::Result<()> {
    let (process, memory) = embedded::find(kept)?;
    let link = MonitorLink::attach(memory.window(), &plan.settings, Waiting::Futex)?;
    embedded::listen_to(&process, kept, messages(plan));
    {
        let mut view = plan.shared.lock();
        let now = Instant::now();
        view.started = now.checked_sub(process.age()).unwrap_or(now);
        view.attached_as(link.life().incarnation());
        // Its shell may wait for a command, and print nothing for a long time.
        view.printed = true;
    }
    serve(plan, link, process, flags);
    Ok(())
}

/// Starts the instance on a fresh region, to the end of the run.
fn start(plan: &Plan, flags: &Arc<Flags>) -> anyhow::Result<()> {
    let number = plan.settings.partition;
    let memory = Mapping::memfd(&format!("kmon-{number}"), MonitorLink::REGION_LEN)
        .context("no memory for its region")?;
    let link = MonitorLink::create(memory.window(), &plan.settings, Waiting::Futex)
        .context("its region cannot be formatted")?;
    {
        let mut view = plan.shared.lock();
        view.log.new_region();
        view.attached_as(link.life().incarnation());
    }
    let newborn = spawn(plan, memory.as_fd().try_clone_to_owned()?)?;
    let recorded = plan.rundir.save(&plan.record(Some(newborn.kept()))); // E4
    if let Err(error) = recorded {
        newborn.give_up();
        return Err(error);
    }
    let process = newborn.begin(messages(plan));
    serve(plan, link, process, flags);
    Ok(())
}

fn spawn(plan: &Plan, region: OwnedFd) -> anyhow::Result<Newborn> {
    let launch = Launch {
        kmon: &plan.kmon,
        guestd: &plan.guestd,
        shell: plan.shell.as_deref(),
        name: &plan.settings.name,
    };
    embedded::spawn(&launch, region)
}

/// Where the instance's messages go.
fn messages(plan: &Plan) -> impl FnMut(String) + Send + 'static {
    let number = plan.settings.partition;
    let notices = Arc::clone(&plan.notices);
    move |line| notices.say(format!("instance {number}: {line}"))
}

impl Plan {
    /// The instance as the next KMON is to find it.
    pub(crate) fn record(&self, process: Option<Kept>) -> Record {
        Record {
            number: self.settings.partition,
            name: self.settings.name.clone(),
            shell: self.shell.clone(),
            process,
        }
    }
}

/// Talks to the instance until its process has ended, or KMON leaves.
fn serve(plan: &Plan, link: MonitorLink<'_>, process: Process, flags: &Arc<Flags>) {
    let (sender, mut receiver) = link.split();
    if let Some(handled) = plan.shared.lock().log.handled() {
        receiver.skip(handled);
    }
    let mut pump = Pump {
        number: plan.settings.partition,
        watch: Watch::new(receiver.peer_beat()),
        receiver,
        process,
        shared: Arc::clone(&plan.shared),
        outbox: Arc::clone(&plan.outbox),
        notices: Arc::clone(&plan.notices),
        flags: Arc::clone(flags),
        lines: Vec::new(),
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| send_orders(sender, plan, flags, &over));
        while pump.turn() {
            if flags.kill.load(Ordering::Relaxed) {
                // Its end shows in one of the next turns.
                pump.process.kill();
            } else if flags.leave.load(Ordering::Relaxed) {
                return;
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    let halted = plan.shared.lock().state == State::Halted;
    if halted && let Err(error) = plan.rundir.save(&plan.record(None)) {
        plan.notices.say(format!("{error:#}"));
    }
}

/// The sending thread: from the outbox into the region, waiting for room.
fn send_orders(mut sender: CommandSender<'_>, plan: &Plan, flags: &Flags, over: &AtomicBool) {
    let mut last_call = None;
    loop {
        if flags.leave.load(Ordering::Relaxed) {
            let until = *last_call.get_or_insert_with(|| Instant::now() + LAST_ORDERS);
            if plan.outbox.is_empty() || Instant::now() > until {
                return;
            }
        }
        let is_corrupt = matches!(plan.shared.lock().state, State::Corrupt(_));
        if is_corrupt || over.load(Ordering::Relaxed) || flags.kill.load(Ordering::Relaxed) {
            return;
        }
        let Some((life, order)) = plan.outbox.take(GLANCE) else {
            continue;
        };
        let command = order.as_command();
        loop {
            match sender.send(&command, life) {
                Ok(Sent::Whole) => break,
                // Another life of guestd, if it is not the one that it is for,
                // discards it; so the next attempt is as good.
                Ok(Sent::Restarted) => {}
                Ok(Sent::Full) if flags.is_over() || over.load(Ordering::Relaxed) => return,
                Ok(Sent::Full) => sender.wait_for_space(GLANCE),
                Err(error) => return give_up(plan, &error),
            }
        }
    }
}

fn give_up(plan: &Plan, error: &LinkError) {
    let number = plan.settings.partition;
    if plan.shared.become_corrupt(error) {
        plan.notices.say(format!(
            "instance {number}'s region is broken: {error}; kmreset {number} starts it again"
        ));
    }
}
