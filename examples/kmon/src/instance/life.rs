//! One life of an instance: a fresh region, its process, and the two threads
//! that talk to it.
//!
//! - **E1** The thread of a life owns the mapping and the process; both are gone
//!   when it ends. It also outlives the process, which would otherwise get its
//!   parent-death signal.
//! - **E2** Only the instance's own process gets the region's descriptor.
//! - **E3** Nothing is sent before the daemon has attached: it would throw
//!   away, as another life's, what it finds in the ring.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use kmon_protocol::link::{CommandSender, MonitorLink, Waiting};
use kmon_protocol::{LinkError, Settings};
use shmem_core::region::Mapping;

use super::outbox::Outbox;
use super::pump::{Pump, Watch};
use super::shared::Shared;
use super::state::State;
use crate::embedded::{self, Launch};
use crate::notices::Notices;

/// How often a thread that waits looks whether its life is over.
const GLANCE: Duration = Duration::from_millis(100);

/// What a life is made from.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) kmon: PathBuf,
    pub(crate) guestd: PathBuf,
    pub(crate) shell: Option<PathBuf>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) notices: Arc<Notices>,
}

/// A handle on a running life; dropping it kills the instance.
pub(crate) struct Life {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    halting: Arc<AtomicBool>,
}

impl Life {
    /// Starts the instance; how that went shows in its state.
    pub(crate) fn start(plan: Plan) -> anyhow::Result<Self> {
        plan.outbox.clear();
        plan.shared.lock().new_life();
        let stop = Arc::new(AtomicBool::new(false));
        let halting = Arc::new(AtomicBool::new(false));
        let flags = (Arc::clone(&stop), Arc::clone(&halting));
        let thread = std::thread::Builder::new()
            .name(format!("instance {}", plan.settings.partition))
            .spawn(move || live(&plan, &flags.0, flags.1))
            .context("no thread for the instance")?;
        Ok(Self {
            thread: Some(thread),
            stop,
            halting,
        })
    }

    /// From here on the end of the process is what the operator asked for.
    pub(crate) fn expect_halt(&self) {
        self.halting.store(true, Ordering::Relaxed);
    }

    /// Kills what is still there and waits for the end of the threads.
    pub(crate) fn end(&mut self) {
        self.expect_halt();
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was already reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread of a life (E1).
fn live(plan: &Plan, stop: &AtomicBool, halting: Arc<AtomicBool>) {
    if let Err(error) = try_to_live(plan, stop, halting) {
        let number = plan.settings.partition;
        plan.shared.lock().state = State::Dead(format!("{error:#}"));
        plan.shared.announce();
        plan.notices
            .say(format!("instance {number} was not started: {error:#}"));
    }
}

fn try_to_live(plan: &Plan, stop: &AtomicBool, halting: Arc<AtomicBool>) -> anyhow::Result<()> {
    let number = plan.settings.partition;
    let memory = Mapping::memfd(&format!("kmon-{number}"), MonitorLink::REGION_LEN)
        .context("no memory for its region")?;
    let link = MonitorLink::create(memory.window(), &plan.settings, Waiting::Futex)
        .context("its region cannot be formatted")?;
    let child = spawn(plan, memory.as_fd().try_clone_to_owned()?)?;
    let (sender, receiver) = link.split();
    let mut pump = Pump {
        number,
        receiver,
        child,
        shared: Arc::clone(&plan.shared),
        notices: Arc::clone(&plan.notices),
        halting,
        watch: Watch::default(),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| send_orders(sender, plan, stop));
        while pump.turn() {
            if stop.load(Ordering::Relaxed) {
                // Its end shows in one of the next turns.
                let _ = pump.child.kill();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    Ok(())
}

fn spawn(plan: &Plan, region: OwnedFd) -> anyhow::Result<Child> {
    let launch = Launch {
        kmon: &plan.kmon,
        guestd: &plan.guestd,
        shell: plan.shell.as_deref(),
        name: &plan.settings.name,
    };
    let number = plan.settings.partition;
    let notices = Arc::clone(&plan.notices);
    embedded::spawn(&launch, region, move |line| {
        notices.say(format!("instance {number}: {line}"));
    })
}

/// The sending thread: from the outbox into the region, waiting for room.
fn send_orders(mut sender: CommandSender<'_>, plan: &Plan, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        if plan.shared.lock().state == State::Starting {
            drop(plan.shared.wait(plan.shared.lock(), GLANCE));
            continue;
        }
        let Some(order) = plan.outbox.take(GLANCE) else {
            continue;
        };
        let command = order.as_command();
        loop {
            match sender.send(&command) {
                Ok(true) => break,
                Ok(false) if stop.load(Ordering::Relaxed) => return,
                Ok(false) => sender.wait_for_space(GLANCE),
                Err(error) => return give_up(plan, &error),
            }
        }
    }
}

fn give_up(plan: &Plan, error: &LinkError) {
    let number = plan.settings.partition;
    plan.shared.lock().state = State::Corrupt(error.to_string());
    plan.shared.announce();
    plan.notices.say(format!(
        "instance {number} broke its region: {error}; kmreset {number} starts it again"
    ));
}
