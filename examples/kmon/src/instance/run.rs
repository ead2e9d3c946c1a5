//! One run of an instance: a region, its body, and the two threads that talk to
//! it. A run begins with a fresh region or with one that an earlier KMON left;
//! guestd may have any number of incarnations in it.
//!
//! - **E1** The thread of a run has the mapping and the body. When it ends, the
//!   body has ended, or is left for the next KMON with all that a later one needs.
//! - **E2** Only the body's own processes get the region's descriptor.
//! - **E3** Nothing is sent before guestd has greeted this KMON: it would throw
//!   away, as another incarnation's, what it finds in the ring.
//! - **E4** The record of a body is written before that does anything, or says
//!   that it is being made (`rundir`, R3); and it says halted only after its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use kmon_protocol::link::MonitorLink;

use super::flags::Flags;
use super::kernel::KernelFeed;
use super::outbox::Outbox;
use super::plan::Plan;
use super::pump::Pump;
use super::sending::send_orders;
use super::state::State;
use super::trial::Trials;
use super::watch::Watch;
use crate::backend::{self, AttachedRegion, Backend, BackendRecord, Found, Say};

/// A handle on a run; dropping it leaves the instance to the next KMON.
pub(crate) struct Run {
    thread: Option<JoinHandle<()>>,
    flags: Arc<Flags>,
    outbox: Arc<Outbox>,
}

impl Run {
    /// Goes on with the instance that `found` says, or starts it afresh; how that
    /// went shows in its state.
    pub(crate) fn start(plan: Plan, found: Option<BackendRecord>) -> anyhow::Result<Self> {
        plan.outbox.clear();
        plan.shared.lock().begin();
        let flags = Arc::<Flags>::default();
        let (for_thread, outbox) = (Arc::clone(&flags), Arc::clone(&plan.outbox));
        let thread = std::thread::Builder::new()
            .name(format!("instance {}", plan.settings.partition))
            .spawn(move || live(&plan, found, &for_thread))
            .context("no thread for the instance")?;
        Ok(Self {
            thread: Some(thread),
            flags,
            outbox,
        })
    }

    /// What the instance consists of, once that is there.
    pub(crate) fn body(&self) -> Option<&Arc<dyn Backend>> {
        self.flags.body.get()
    }

    /// From here on the end of the body is what the operator asked for.
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
        self.outbox.wake();
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

/// The thread of a run (E1).
fn live(plan: &Plan, found: Option<BackendRecord>, flags: &Arc<Flags>) {
    let number = plan.settings.partition;
    if let Some(kept) = found {
        let Err(error) = go_on(plan, &kept, flags) else {
            return;
        };
        plan.notices.say(format!(
            "instance {number} of an earlier KMON is lost ({error:#}); it is started afresh"
        ));
        backend::kill(&plan.launch(), &kept);
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
fn go_on(plan: &Plan, kept: &BackendRecord, flags: &Arc<Flags>) -> anyhow::Result<()> {
    let Found {
        body,
        memory,
        waiting,
    } = backend::find(&plan.launch(), kept, messages(plan))?;
    let link = MonitorLink::attach(memory.window(), &plan.settings, waiting)?;
    {
        let mut view = plan.shared.lock();
        let now = Instant::now();
        view.started = now.checked_sub(body.age()).unwrap_or(now);
        view.attached_as(link.incarnation().number());
        // Its shell may wait for a command, and print nothing for a long time.
        view.printed = true;
    }
    serve(plan, link, body, flags);
    Ok(())
}

/// Starts the instance on a fresh region, to the end of the run.
fn start(plan: &Plan, flags: &Arc<Flags>) -> anyhow::Result<()> {
    let launch = plan.launch();
    if let Some(begun) = backend::begun(&plan.kind) {
        plan.rundir.save(&plan.record(Some(begun)))?; // E4
    }
    let AttachedRegion {
        memory,
        waiting,
        beside,
    } = backend::prepare(&launch)?;
    let link = MonitorLink::create(memory.window(), &plan.settings, waiting)
        .context("its region cannot be formatted")?;
    {
        let mut view = plan.shared.lock();
        view.log.new_region();
        view.kernel_log.new_region();
        view.attached_as(link.incarnation().number());
    }
    let newborn = backend::start(&launch, &memory, beside)?;
    let recorded = plan.rundir.save(&plan.record(Some(newborn.kept()))); // E4
    if let Err(error) = recorded {
        newborn.give_up();
        return Err(error);
    }
    serve(plan, link, newborn.begin(messages(plan)), flags);
    Ok(())
}

/// Where the instance's messages go.
fn messages(plan: &Plan) -> Say {
    let number = plan.settings.partition;
    let notices = Arc::clone(&plan.notices);
    Box::new(move |line| notices.say(format!("instance {number}: {line}")))
}

/// Talks to the instance until its body has ended, or KMON leaves.
fn serve(plan: &Plan, link: MonitorLink<'_>, body: Arc<dyn Backend>, flags: &Arc<Flags>) {
    let (sender, mut receiver, kernel) = link.split();
    if let Some(handled) = plan.shared.lock().log.handled() {
        receiver.skip(handled);
    }
    plan.shared.lock().pid = body.pid();
    // A run has one body: a new run has new flags.
    let _ = flags.body.set(Arc::clone(&body));
    let mut pump = Pump {
        number: plan.settings.partition,
        watch: Watch::new(receiver.peer_beat()),
        trials: Trials::default(),
        receiver,
        kernel: KernelFeed::new(kernel, &plan.shared),
        body,
        shared: Arc::clone(&plan.shared),
        outbox: Arc::clone(&plan.outbox),
        notices: Arc::clone(&plan.notices),
        flags: Arc::clone(flags),
        lines: Vec::new(),
        period: Duration::from_millis(plan.settings.period_ms.into()),
        busy: Instant::now(),
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| send_orders(sender, plan, flags, &over));
        while pump.turn() {
            if flags.is_killed() {
                // Its end shows in one of the next turns.
                pump.body.kill();
            } else if flags.is_left() {
                return;
            }
        }
        over.store(true, Ordering::Relaxed);
        plan.outbox.wake();
    });
    let halted = plan.shared.lock().state == State::Halted;
    if halted && let Err(error) = plan.rundir.save(&plan.record(None)) {
        plan.notices.say(format!("{error:#}"));
    }
}
