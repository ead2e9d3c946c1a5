//! One instance: what it is, and how it starts and ends.

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

/// How long processes may take to attach, and a machine, which boots first.
const START_TIME: Duration = Duration::from_secs(20);
const BOOT_TIME: Duration = Duration::from_secs(90);
/// How long an instance may take to halt, and a machine, which shuts its system down.
const HALT_TIME: Duration = Duration::from_secs(3);
const SHUTDOWN_TIME: Duration = Duration::from_secs(10);

/// One partition; it keeps its number, name and output over its runs, and over
/// those of KMON.
pub(crate) struct Instance {
    pub(crate) number: u8,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) shared: Arc<Shared>,
    pub(crate) outbox: Arc<Outbox>,
    pub(super) run: Option<Run>,
}

/// How an instance was brought to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halted {
    /// Guestd was asked, and ended it.
    Clean,
    /// Its system was asked by the power button.
    PoweredDown,
    /// It was killed.
    Killed,
    /// KMON has let go of it; it was not there, or did not answer.
    Released,
}

impl Instance {
    /// The instance's state as of now.
    pub(crate) fn state(&self) -> State {
        self.shared.lock().state.clone()
    }

    /// An error unless the instance can take commands.
    pub(crate) fn require_running(&self) -> anyhow::Result<()> {
        let n = self.number;
        match self.state() {
            State::Running => Ok(()),
            State::Halted => bail!("instance {n} is not running (halted); kmload {n} starts it"),
            State::Starting => bail!("instance {n} is not running yet; kmlist shows when it is"),
            State::Restarting(_) => {
                bail!("guestd of instance {n} died and is being restarted; kmlist shows when it is")
            }
            State::Paused => bail!("instance {n} is paused; kmresume {n} lets it go on"),
            state => bail!("instance {n} is not running ({state}); kmreset {n} starts it again"),
        }
    }

    /// Starts it afresh, or goes on with what an earlier KMON left of it.
    pub(super) fn start(
        &mut self,
        common: &Common,
        found: Option<BackendRecord>,
    ) -> anyhow::Result<()> {
        if self.run.is_some() {
            // Before it is killed: what cannot be recorded cannot be started.
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

    /// What it consists of, if that is there.
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
            // One that stands still hears nothing. If it does not go on, it is killed.
            let _ = backend.resume();
        }
        self.outbox.put(Order::Halt);
    }

    /// Asks guestd to end it, then its system, and kills it if neither does.
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

    /// How it is halted if nobody is asked.
    pub(super) fn halted_by_force(&self) -> Halted {
        match self.kind {
            Kind::External(_) => Halted::Released,
            Kind::Process { .. } | Kind::Qemu(_) => Halted::Killed,
        }
    }

    /// Presses its power button, if it has one that works.
    pub(super) fn press_power(&self) -> bool {
        let pressed = self.backend().map(|backend| backend.power_down());
        matches!(pressed, Some(Ok(true)))
    }

    /// Kills what there is; a run that was over stays as it ended.
    pub(super) fn end(&mut self) {
        if let Some(run) = self.run.take() {
            run.end();
        }
    }

    /// Whether `kmload` and `kmreset` wait for it: whoever attaches to foreign memory does
    /// so when it likes.
    pub(crate) fn is_awaited(&self) -> bool {
        !matches!(self.kind, Kind::External(_))
    }

    fn start_time(&self) -> Duration {
        match self.kind {
            Kind::Qemu(_) => BOOT_TIME,
            Kind::Process { .. } | Kind::External(_) => START_TIME,
        }
    }

    /// How long it may take to halt when it was asked.
    pub(super) fn halt_time(&self) -> Duration {
        match self.kind {
            Kind::Qemu(_) => SHUTDOWN_TIME,
            Kind::Process { .. } | Kind::External(_) => HALT_TIME,
        }
    }

    /// Waits until it runs and has reported once, for as long as it may take to start
    /// (for ever if `patient`), and calls `look` now and then.
    ///
    /// # Errors
    ///
    /// It does not, or `^C` came, or the error of `look`.
    pub(crate) fn wait_running(
        &self,
        since: Instant,
        patient: bool,
        interrupt: &Interrupt,
        mut look: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let deadline = since + self.start_time();
        let n = self.number;
        loop {
            let begun = self
                .shared
                .wait_until(Interrupt::POLL_INTERVAL, |view| match view.state {
                    State::Running => view.stats.is_some(),
                    State::Starting | State::Restarting(_) => false,
                    _ => true,
                });
            look()?;
            if begun {
                break;
            }
            if interrupt.is_set() {
                bail!("interrupted; instance {n} goes on, kmlist shows when it runs");
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
            State::Paused => bail!("instance {n} is paused; kmresume {n} lets it go on"),
            state => bail!("instance {n} does not run ({state}); kmreset {n} tries again"),
        }
    }

    /// Waits until it has ended, or cannot hear that it is to end; whether the former.
    pub(super) fn wait_halted(&self, deadline: Instant) -> bool {
        let hears = |state: &State| {
            matches!(
                state,
                State::Running | State::Starting | State::Restarting(_) | State::Paused
            )
        };
        self.wait_while(deadline, hears)
    }

    /// Waits until it has ended; whether it has.
    pub(super) fn wait_ended(&self, deadline: Instant) -> bool {
        self.wait_while(deadline, State::is_alive)
    }

    fn wait_while(&self, deadline: Instant, waits: impl Fn(&State) -> bool) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        self.shared.wait_until(left, |view| !waits(&view.state));
        !self.state().is_alive()
    }
}
