//! One instance, with its start and its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use kmon_protocol::Settings;

use super::common::Common;
use crate::api::fault::{Code, refuse};
use crate::api::instances::Halted;
use crate::backend::{Backend, BackendRecord};
use crate::instance::outbox::{Order, Outbox};
use crate::instance::plan::Plan;
use crate::instance::run::Run;
use crate::instance::shared::Shared;
use crate::instance::state::State;
use crate::kind::Kind;

/// How long processes may take to attach, and a machine, which must boot.
const START_TIME: Duration = Duration::from_secs(20);
const BOOT_TIME: Duration = Duration::from_secs(90);
/// How long an instance may take to halt, and a machine, which must shut down.
const HALT_TIME: Duration = Duration::from_secs(3);
const SHUTDOWN_TIME: Duration = Duration::from_secs(10);

/// One instance. It keeps its number, name and output over its runs, and over those of KMON.
pub(crate) struct Instance {
    pub(crate) number: u8,
    pub(crate) shared: Arc<Shared>,
    pub(crate) outbox: Arc<Outbox>,
    pub(super) settings: Mutex<InstanceSettings>,
    run: Mutex<Option<Run>>,
    /// Held by the operation that starts or ends it.
    operation: Mutex<()>,
}

/// What an operator chooses for an instance.
#[derive(Clone, Debug)]
pub(crate) struct InstanceSettings {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

impl Instance {
    pub(super) fn new(number: u8, settings: InstanceSettings, shared: Arc<Shared>) -> Self {
        Self {
            number,
            shared,
            outbox: Arc::default(),
            settings: Mutex::new(settings),
            run: Mutex::new(None),
            operation: Mutex::new(()),
        }
    }

    /// Returns its name and its kind.
    pub(crate) fn settings(&self) -> InstanceSettings {
        lock(&self.settings).clone()
    }

    /// Begins an operation that starts or ends it.
    ///
    /// # Errors
    /// Another one is in progress.
    pub(super) fn begin_operation(&self) -> anyhow::Result<MutexGuard<'_, ()>> {
        match self.operation.try_lock() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(guard)) => Ok(guard.into_inner()),
            Err(TryLockError::WouldBlock) => {
                let n = self.number;
                let what = format!("instance {n} is being started or ended; try again later");
                refuse(Code::Busy, what)
            }
        }
    }

    /// Returns the instance's state.
    pub(crate) fn state(&self) -> State {
        self.shared.lock().state.clone()
    }

    /// Returns an error unless the instance can accept commands.
    pub(crate) fn require_running(&self) -> anyhow::Result<()> {
        let n = self.number;
        let what = match self.state() {
            State::Running => return Ok(()),
            State::Halted => format!("instance {n} is not running (halted); kmload {n} starts it"),
            State::Starting => format!("instance {n} is not running yet; see kmlist"),
            State::Restarting(_) => {
                format!("guestd of instance {n} died and is being restarted; see kmlist")
            }
            State::Paused => format!("instance {n} is paused; kmresume {n} continues it"),
            state => format!("instance {n} is not running ({state}); kmreset {n} starts it again"),
        };
        refuse(Code::NotRunning, what)
    }

    /// Starts a new run, or continues with the backend that an earlier KMON left.
    pub(super) fn start(
        &self,
        common: &Common,
        found: Option<BackendRecord>,
    ) -> anyhow::Result<()> {
        if self.was_started() {
            // Checked before it is killed: without a record it cannot be started.
            common.rundir.require_room(self.number)?;
        }
        self.end();
        let run = Run::start(self.plan(common), found)?;
        *lock(&self.run) = Some(run);
        Ok(())
    }

    /// Returns true if this KMON has started it and nobody has ended it since.
    pub(super) fn was_started(&self) -> bool {
        lock(&self.run).is_some()
    }

    pub(super) fn plan(&self, common: &Common) -> Plan {
        let InstanceSettings { name, kind } = self.settings();
        Plan {
            settings: Settings {
                partition: self.number,
                period_ms: u32::try_from(common.period.as_millis()).unwrap_or(u32::MAX),
                name,
            },
            kind,
            programs: common.programs.clone(),
            shared: Arc::clone(&self.shared),
            outbox: Arc::clone(&self.outbox),
            notices: Arc::clone(&common.notices),
            rundir: Arc::clone(&common.rundir),
        }
    }

    /// Returns its backend, if there is one.
    pub(super) fn backend(&self) -> Option<Arc<dyn Backend>> {
        lock(&self.run).as_ref()?.backend().cloned()
    }

    pub(super) fn ask_to_halt(&self) {
        if let Some(run) = lock(&self.run).as_ref() {
            run.expect_halt();
        }
        if self.state() == State::Paused
            && let Some(backend) = self.backend()
        {
            // A paused instance receives nothing. If it does not continue, it is killed.
            let _ = backend.resume();
        }
        self.outbox.put(Order::Halt);
    }

    /// Asks guestd to end it, then presses the power button, and kills it if neither works.
    pub(super) fn halt(&self) -> Halted {
        self.ask_to_halt();
        if self.wait_halted(Instant::now() + self.halt_time()) {
            return Halted::Clean;
        }
        if self.press_power() && self.wait_ended(Instant::now() + self.halt_time()) {
            return Halted::PoweredDown;
        }
        self.halted_by_force()
    }

    /// Returns how it is halted if it does not halt on request.
    pub(super) fn halted_by_force(&self) -> Halted {
        match self.settings().kind {
            Kind::External(_) => Halted::Released,
            Kind::Process { .. } | Kind::Qemu(_) => Halted::Killed,
        }
    }

    /// Presses its power button. Returns true if it has one that works.
    pub(super) fn press_power(&self) -> bool {
        let pressed = self.backend().map(|backend| backend.power_down());
        matches!(pressed, Some(Ok(true)))
    }

    /// Kills it. A run that has ended keeps its state.
    pub(super) fn end(&self) {
        // Not under the lock: this waits for the run's threads.
        let run = lock(&self.run).take();
        if let Some(run) = run {
            run.end();
        }
    }

    /// Tells its threads to leave it to the next KMON, without waiting for them.
    pub(super) fn leave(&self) {
        if let Some(run) = lock(&self.run).as_ref() {
            run.leave();
        }
    }

    /// Leaves it to the next KMON, after waiting for its threads.
    pub(super) fn abandon(&self) {
        let run = lock(&self.run).take();
        drop(run);
    }

    /// Returns true if `kmload` and `kmreset` wait for it. An external instance may attach at any
    /// time.
    pub(crate) fn is_awaited(&self) -> bool {
        !matches!(self.settings().kind, Kind::External(_))
    }

    fn start_time(&self) -> Duration {
        match self.settings().kind {
            Kind::Qemu(_) => BOOT_TIME,
            Kind::Process { .. } | Kind::External(_) => START_TIME,
        }
    }

    /// Returns how long it may take to halt on request.
    pub(super) fn halt_time(&self) -> Duration {
        match self.settings().kind {
            Kind::Qemu(_) => SHUTDOWN_TIME,
            Kind::Process { .. } | Kind::External(_) => HALT_TIME,
        }
    }

    /// Waits until it runs and has sent statistics, at most the time for its start.
    ///
    /// # Errors
    /// It does not run in time.
    pub(crate) fn wait_running(&self, since: Instant) -> anyhow::Result<()> {
        let left = (since + self.start_time()).saturating_duration_since(Instant::now());
        self.shared.wait_until(left, |view| match view.state {
            State::Running => view.stats.is_some(),
            State::Starting | State::Restarting(_) => false,
            _ => true,
        });
        let n = self.number;
        let what = match self.state() {
            State::Running => return Ok(()),
            State::Starting => format!(
                "instance {n}: guestd did not attach within {} s; kmreset {n} tries again",
                self.start_time().as_secs()
            ),
            State::Paused => format!("instance {n} is paused; kmresume {n} continues it"),
            state => format!("instance {n} is not running ({state}); kmreset {n} tries again"),
        };
        refuse(Code::NotStarted, what)
    }

    /// Waits until it has ended, or can no longer receive the order to halt. Returns true if it has
    /// ended.
    pub(super) fn wait_halted(&self, deadline: Instant) -> bool {
        let can_receive = |state: &State| {
            matches!(
                state,
                State::Running | State::Starting | State::Restarting(_) | State::Paused
            )
        };
        self.wait_while(deadline, can_receive)
    }

    /// Waits until it has ended. Returns true if it has.
    pub(super) fn wait_ended(&self, deadline: Instant) -> bool {
        self.wait_while(deadline, State::is_alive)
    }

    fn wait_while(&self, deadline: Instant, waits: impl Fn(&State) -> bool) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        self.shared.wait_until(left, |view| !waits(&view.state));
        !self.state().is_alive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
