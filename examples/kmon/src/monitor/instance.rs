//! One instance, with its start and its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use kmon_protocol::Settings;

use super::common::Common;
use crate::backend::{Backend, BackendRecord};
use crate::instance::outbox::{Order, Outbox};
use crate::instance::plan::Plan;
use crate::instance::run::Run;
use crate::instance::shared::Shared;
use crate::instance::state::State;
use crate::interrupt::Interrupt;
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
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) shared: Arc<Shared>,
    pub(crate) outbox: Arc<Outbox>,
    pub(super) run: Option<Run>,
}

/// How an instance was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halted {
    /// Guestd ended it on request.
    Clean,
    /// Its system ended after the power button was pressed.
    PoweredDown,
    /// It was killed.
    Killed,
    /// KMON has released it, because it had not attached or did not answer.
    Released,
}

impl Instance {
    /// Returns the instance's state.
    pub(crate) fn state(&self) -> State {
        self.shared.lock().state.clone()
    }

    /// Returns an error unless the instance can accept commands.
    pub(crate) fn require_running(&self) -> anyhow::Result<()> {
        let n = self.number;
        match self.state() {
            State::Running => Ok(()),
            State::Halted => bail!("instance {n} is not running (halted); kmload {n} starts it"),
            State::Starting => bail!("instance {n} is not running yet; see kmlist"),
            State::Restarting(_) => {
                bail!("guestd of instance {n} died and is being restarted; see kmlist")
            }
            State::Paused => bail!("instance {n} is paused; kmresume {n} continues it"),
            state => bail!("instance {n} is not running ({state}); kmreset {n} starts it again"),
        }
    }

    /// Starts a new run, or continues with the backend that an earlier KMON left.
    pub(super) fn start(
        &mut self,
        common: &Common,
        found: Option<BackendRecord>,
    ) -> anyhow::Result<()> {
        if self.run.is_some() {
            // Checked before it is killed: without a record it cannot be started.
            common.rundir.require_room(self.number)?;
        }
        self.end();
        self.run = Some(Run::start(self.plan(common), found)?);
        Ok(())
    }

    pub(super) fn plan(&self, common: &Common) -> Plan {
        Plan {
            settings: Settings {
                partition: self.number,
                period_ms: u32::try_from(common.period.as_millis()).unwrap_or(u32::MAX),
                name: self.name.clone(),
            },
            kind: self.kind.clone(),
            programs: common.programs.clone(),
            shared: Arc::clone(&self.shared),
            outbox: Arc::clone(&self.outbox),
            notices: Arc::clone(&common.notices),
            rundir: Arc::clone(&common.rundir),
        }
    }

    /// Returns its backend, if there is one.
    pub(super) fn backend(&self) -> Option<&Arc<dyn Backend>> {
        self.run.as_ref()?.backend()
    }

    pub(super) fn ask_to_halt(&self) {
        if let Some(run) = &self.run {
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
    pub(super) fn halt(&mut self) -> Halted {
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
        match self.kind {
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
    pub(super) fn end(&mut self) {
        if let Some(run) = self.run.take() {
            run.end();
        }
    }

    /// Returns true if `kmload` and `kmreset` wait for it. An external instance may attach at any
    /// time.
    pub(crate) fn is_awaited(&self) -> bool {
        !matches!(self.kind, Kind::External(_))
    }

    fn start_time(&self) -> Duration {
        match self.kind {
            Kind::Qemu(_) => BOOT_TIME,
            Kind::Process { .. } | Kind::External(_) => START_TIME,
        }
    }

    /// Returns how long it may take to halt on request.
    pub(super) fn halt_time(&self) -> Duration {
        match self.kind {
            Kind::Qemu(_) => SHUTDOWN_TIME,
            Kind::Process { .. } | Kind::External(_) => HALT_TIME,
        }
    }

    /// Waits until it runs and has sent statistics, at most the time for its start (without limit
    /// if `patient`). Calls `poll` repeatedly meanwhile.
    ///
    /// # Errors
    /// It does not run in time, or `^C` was pressed, or `poll` fails.
    pub(crate) fn wait_running(
        &self,
        since: Instant,
        patient: bool,
        interrupt: &Interrupt,
        mut poll: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let deadline = since + self.start_time();
        let n = self.number;
        loop {
            let is_settled =
                self.shared
                    .wait_until(Interrupt::POLL_INTERVAL, |view| match view.state {
                        State::Running => view.stats.is_some(),
                        State::Starting | State::Restarting(_) => false,
                        _ => true,
                    });
            poll()?;
            if is_settled {
                break;
            }
            if interrupt.is_set() {
                bail!("interrupted; instance {n} continues to start, see kmlist");
            }
            if !patient && Instant::now() > deadline {
                break;
            }
        }
        match self.state() {
            State::Running => Ok(()),
            State::Starting => bail!(
                "instance {n}: guestd did not attach within {} s; kmreset {n} tries again",
                self.start_time().as_secs()
            ),
            State::Paused => bail!("instance {n} is paused; kmresume {n} continues it"),
            state => bail!("instance {n} is not running ({state}); kmreset {n} tries again"),
        }
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
