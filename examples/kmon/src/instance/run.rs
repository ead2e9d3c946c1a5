//! One run of an instance: a region, its backend, and the two threads that communicate with it. A
//! run begins with a new region or with one that an earlier KMON left. Guestd may have any number
//! of incarnations in it.
//!
//! - **E1** The thread of a run owns the mapping and the backend. When it ends, the backend has
//!   ended, or is left for the next KMON together with its record.
//! - **E2** Only the backend's own processes get the region's descriptor.
//! - **E3** Nothing is sent before guestd has greeted this KMON: guestd would discard the commands
//!   as those of another incarnation.
//! - **E4** The record of a backend is written before the backend does anything, or a provisional
//!   record is (`rundir`, R3). The record of a halted instance is written only after its end.

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
use crate::backend::{self, AttachedRegion, Backend, BackendRecord, Found, MessageSink};

/// A handle on a run. Its destructor leaves the instance to the next KMON.
pub(crate) struct Run {
    thread: Option<JoinHandle<()>>,
    flags: Arc<Flags>,
    outbox: Arc<Outbox>,
}

impl Run {
    /// Continues with the instance that `found` records, or starts a new one. The instance's state
    /// shows the result.
    pub(crate) fn start(plan: Plan, found: Option<BackendRecord>) -> anyhow::Result<Self> {
        plan.outbox.clear();
        plan.shared.lock().begin();
        plan.shared.announce();
        let flags = Arc::<Flags>::default();
        let (for_thread, outbox) = (Arc::clone(&flags), Arc::clone(&plan.outbox));
        let thread = std::thread::Builder::new()
            .name(format!("instance {}", plan.settings.partition))
            .spawn(move || run_instance(&plan, found, &for_thread))
            .context("cannot start a thread for the instance")?;
        Ok(Self {
            thread: Some(thread),
            flags,
            outbox,
        })
    }

    /// Returns what the instance consists of, once it is made or found.
    pub(crate) fn backend(&self) -> Option<&Arc<dyn Backend>> {
        self.flags.backend.get()
    }

    /// Notes that the operator has requested the end of the backend.
    pub(crate) fn expect_halt(&self) {
        self.flags.halting.store(true, Ordering::Relaxed);
    }

    /// Tells the threads to leave the instance to the next KMON. The destructor waits for them.
    pub(crate) fn leave(&self) {
        self.flags.leave.store(true, Ordering::Relaxed);
    }

    /// Kills the backend and waits for the end of the threads.
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
fn run_instance(plan: &Plan, found: Option<BackendRecord>, flags: &Arc<Flags>) {
    let number = plan.settings.partition;
    if let Some(record) = found {
        let Err(error) = resume(plan, &record, flags) else {
            return;
        };
        plan.notices.post(format!(
            "instance {number} of an earlier KMON is lost ({error:#}); KMON starts a new instance {number}"
        ));
        backend::kill(&plan.launch(), &record);
    }
    if let Err(error) = start(plan, flags) {
        plan.shared.set_state(State::Dead(format!("{error:#}")));
        plan.notices
            .post(format!("instance {number} was not started: {error:#}"));
    }
}

/// Continues with an instance that an earlier KMON started, to the end of the run.
///
/// # Errors
/// It has ended, or its region is invalid; nothing was changed.
fn resume(plan: &Plan, record: &BackendRecord, flags: &Arc<Flags>) -> anyhow::Result<()> {
    let Found {
        backend,
        memory,
        waiting,
    } = backend::find(&plan.launch(), record, messages(plan))?;
    let link = MonitorLink::attach(memory.window(), &plan.settings, waiting)?;
    {
        let mut view = plan.shared.lock();
        let now = Instant::now();
        view.started = now.checked_sub(backend.age()).unwrap_or(now);
        view.attached_as(link.incarnation().number());
        // Its shell may wait for a command, and print nothing for a long time.
        view.printed = true;
    }
    serve(plan, link, backend, flags);
    Ok(())
}

/// Starts the instance on a new region, to the end of the run.
fn start(plan: &Plan, flags: &Arc<Flags>) -> anyhow::Result<()> {
    let launch = plan.launch();
    if let Some(provisional) = backend::provisional_record(&plan.kind) {
        plan.rundir.save(&plan.record(Some(provisional)))?; // E4
    }
    let AttachedRegion {
        memory,
        waiting,
        helper,
    } = backend::prepare(&launch)?;
    let link = MonitorLink::create(memory.window(), &plan.settings, waiting)
        .context("its region cannot be formatted")?;
    {
        let mut view = plan.shared.lock();
        view.log.new_region();
        view.kernel_log.new_region();
        view.attached_as(link.incarnation().number());
    }
    plan.shared.note_output();
    plan.shared.note_kernel();
    let spawned = backend::start(&launch, &memory, helper)?;
    let recorded = plan.rundir.save(&plan.record(Some(spawned.record()))); // E4
    if let Err(error) = recorded {
        spawned.abort();
        return Err(error);
    }
    serve(plan, link, spawned.start(messages(plan)), flags);
    Ok(())
}

/// Returns a sink that posts the instance's messages as notices.
fn messages(plan: &Plan) -> MessageSink {
    let number = plan.settings.partition;
    let notices = Arc::clone(&plan.notices);
    Box::new(move |line| notices.post(format!("instance {number}: {line}")))
}

/// Communicates with the instance until its backend has ended, or KMON leaves.
fn serve(plan: &Plan, link: MonitorLink<'_>, backend: Arc<dyn Backend>, flags: &Arc<Flags>) {
    let (sender, mut receiver, kernel) = link.split();
    if let Some(handled) = plan.shared.lock().log.handled() {
        receiver.skip(handled);
    }
    plan.shared.lock().pid = backend.pid();
    // A run has one backend: a new run has new flags.
    let _ = flags.backend.set(Arc::clone(&backend));
    let mut pump = Pump {
        number: plan.settings.partition,
        watch: Watch::new(receiver.peer_beat()),
        trials: Trials::default(),
        receiver,
        kernel: KernelFeed::new(kernel, &plan.shared),
        backend,
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
        while pump.step() {
            if flags.is_killed() {
                // One of the next steps notices its end.
                pump.backend.kill();
            } else if flags.is_left() {
                return;
            }
        }
        over.store(true, Ordering::Relaxed);
        plan.outbox.wake();
    });
    let halted = plan.shared.lock().state == State::Halted;
    if halted && let Err(error) = plan.rundir.save(&plan.record(None)) {
        plan.notices.post(format!("{error:#}"));
    }
}
