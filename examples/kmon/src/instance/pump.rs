//! One step of an instance's receiving thread: takes events and kernel lines, stores KMON's
//! heartbeat, and updates the instance's state.
//!
//! - **P1** A step ends within about 250 ms, whatever the instance does. So the heartbeat
//!   continues, and no other instance has to wait.
//! - **P2** While the front end has a backlog of output, the step takes nothing from the ring, so
//!   that the instance waits for the terminal. It waits at most [`PATIENCE`] without progress.
//! - **P3** For the front end, an incarnation of guestd begins with its greeting in the ring.
//!   Earlier output is from the earlier incarnation, and earlier input is for that one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kmon_protocol::link::EventReceiver;
use kmon_protocol::link::memory::faults;
use kmon_protocol::{LinkError, Received};

use super::events::{News, note_event, take_event};
use super::flags::Flags;
use super::kernel::KernelFeed;
use super::outbox::Outbox;
use super::shared::Shared;
use super::state::State;
use super::trial::Trials;
use super::watch::Watch;
use crate::backend::{Backend, Condition, End, EndSignals};
use crate::notices::Notices;

/// How long a step waits for an event.
const STEP_WAIT: Duration = Duration::from_millis(50);
/// How long it waits after [`QUIET`] without events: each wake-up costs a processor about 30 µs.
const IDLE_WAIT: Duration = Duration::from_millis(200);
/// How long after the last event an instance counts as idle.
const QUIET: Duration = Duration::from_secs(1);
/// How long an instance waits for a terminal that makes no progress.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of backlog of a front end from which on the instance waits for it.
const HIGH_WATER: u64 = 64 * 1024;

/// The state of the receiving thread.
pub(super) struct Pump<'m> {
    pub(super) number: u8,
    pub(super) receiver: EventReceiver<'m>,
    pub(super) kernel: KernelFeed<'m>,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) shared: Arc<Shared>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) notices: Arc<Notices>,
    pub(super) flags: Arc<Flags>,
    pub(super) watch: Watch,
    pub(super) trials: Trials,
    /// Notices to post at the end of the step, when the state agrees with them.
    pub(super) lines: Vec<String>,
    /// Time between two statistics of the instance.
    pub(super) period: Duration,
    /// When the last event came, or the state was not running.
    pub(super) busy: Instant,
}

impl Pump<'_> {
    /// Does one step. Returns false when the instance's backend has ended.
    pub(super) fn step(&mut self) -> bool {
        if self.is_corrupt() {
            std::thread::sleep(STEP_WAIT);
            return self.check_backend();
        }
        let received = if self.front_end_is_behind() {
            drop(self.shared.wait(self.shared.lock(), STEP_WAIT));
            Ok(0)
        } else {
            self.receive(self.max_wait())
        };
        let received = received.and_then(|_| self.kernel.take());
        if let Err(error) = received.and_then(|()| self.receiver.beat()) {
            self.become_corrupt(&error);
        } else {
            self.take_stats();
            self.check_guestd();
            self.try_memory();
        }
        if let Some(line) = self.backend.maintain() {
            self.lines.push(format!("instance {}: {line}", self.number));
        }
        for line in self.lines.drain(..) {
            if self.watch.notices.take() {
                self.notices.post(line);
            }
        }
        self.check_backend()
    }

    /// Returns how long this step may wait: as long as polled data may be late.
    fn max_wait(&self) -> Duration {
        match self.busy.elapsed() < QUIET {
            true => STEP_WAIT,
            false => IDLE_WAIT.min(self.period).max(STEP_WAIT),
        }
    }

    fn is_corrupt(&self) -> bool {
        matches!(self.shared.lock().state, State::Corrupt(_))
    }

    fn receive(&mut self, timeout: Duration) -> Result<usize, LinkError> {
        let Self {
            receiver,
            shared,
            outbox,
            watch,
            ..
        } = self;
        let mut news = News::default();
        let handled = receiver.receive(timeout, |at, received| {
            let mut view = shared.lock();
            match received {
                Received::Message(event) => {
                    let before = (view.log.end(), view.log.dropped_by_guestd());
                    note_event(&event, &mut view, outbox, watch, &mut news);
                    take_event(&mut view, event, watch.backlog.is_none());
                    view.log.commit(at);
                    let after = (view.log.end(), view.log.dropped_by_guestd());
                    news.printed |= after != before;
                }
                Received::Restarted => {
                    outbox.suspend();
                    view.lose_guestd();
                    watch.lose_guestd();
                    news.restarted = true;
                }
            }
        });
        if news.printed {
            self.shared.note_output();
        }
        if news.restarted {
            self.lose_guestd();
        }
        if news.greeted {
            self.backend.note_greeting();
            self.trials.begin();
        }
        let lines = news.lines.into_iter();
        self.lines
            .extend(lines.map(|line| format!("instance {}{line}", self.number)));
        let handled = handled?;
        if handled > 0 || self.shared.lock().state != State::Running {
            self.busy = Instant::now();
        }
        if handled > 0 {
            self.shared.announce();
        }
        news.broken.map_or(Ok(handled), Err)
    }

    /// Returns true if the instance must wait for the front end (P2).
    fn front_end_is_behind(&mut self) -> bool {
        let backlog = self.shared.lock().backlog();
        if backlog <= HIGH_WATER {
            self.watch.backlog = None;
            return false;
        }
        let now = Instant::now();
        match self.watch.backlog {
            Some((before, since)) if backlog >= before => {
                // No progress for too long: from here on the oldest output is dropped.
                if since.elapsed() > PATIENCE {
                    self.watch.backlog = Some((backlog, since));
                    return false;
                }
            }
            _ => self.watch.backlog = Some((backlog, now)),
        }
        true
    }

    fn take_stats(&mut self) {
        let Some(stats) = self.receiver.stats() else {
            return;
        };
        let mut view = self.shared.lock();
        let known = view.stats.as_ref().map(|known| known.taken_ns);
        if known != Some(stats.taken_ns) {
            view.earlier_stats = view.stats.replace(stats);
            drop(view);
            self.shared.announce();
        }
    }

    /// Tests what works across the memory, and reports what does not.
    fn try_memory(&mut self) {
        if self.shared.lock().state != State::Running {
            return;
        }
        let Some(verdict) = self.trials.run_if_due(&mut self.receiver) else {
            return;
        };
        let n = self.number;
        let lines = faults(&verdict).map(|fault| format!("instance {n}: {fault}"));
        self.lines.extend(lines);
        self.shared.lock().memory = Some(verdict);
    }

    /// Checks the heartbeat and guestd's process.
    fn check_guestd(&mut self) {
        self.watch.note_heartbeat(self.receiver.peer_beat());
        if self.watch.should_search_guestd() {
            let inside = self.receiver.peer_process().number;
            self.watch.guestd = self.backend.guestd(inside);
            if let Some(guestd) = &self.watch.guestd {
                self.shared.lock().pid = Some(guestd.pid());
            }
        }
        let signals = self.end_signals();
        // A backend that continues without guestd will start another one.
        let has_left = signals.goodbye && !self.backend.ends_with_guestd();
        let died = self.watch.guestd_is_gone() && !signals.goodbye;
        if (has_left || died || self.backend.has_rebooted()) && !signals.asked {
            // Its last events may still be in the ring.
            self.outbox.suspend();
            self.watch.presume_lost(self.receiver.peer_beat());
            self.lose_guestd();
        }
        self.ignore_earlier_reboot();
        let state = self.shared.lock().state.clone();
        match state {
            State::Starting | State::Restarting(_) if self.watch.is_running() => {
                self.set_state(State::Running);
            }
            // An instance that an earlier KMON left may be silent from the beginning. After its
            // goodbye it needs no heartbeat.
            State::Running | State::Starting if self.watch.is_silent() && !signals.goodbye => {
                self.set_state(State::Silent(self.watch.since));
                self.report_problem("is silent: its heartbeat has stopped");
            }
            State::Silent(_) if self.watch.is_running() => {
                self.set_state(State::Running);
                self.notices
                    .post(format!("instance {} is running again", self.number));
            }
            _ => {}
        }
    }

    /// Ignores a reboot that preceded guestd's greeting. KMON finds both at the same time if it was
    /// stopped meanwhile.
    fn ignore_earlier_reboot(&mut self) {
        let incarnation = self.receiver.peer_incarnation();
        let is_known = self.shared.lock().log.incarnation() == incarnation;
        if is_known && self.watch.runs_despite_loss() {
            self.watch.greet();
            self.outbox.begin(incarnation);
        }
    }

    fn end_signals(&self) -> EndSignals {
        EndSignals {
            goodbye: self.watch.goodbye,
            asked: self.flags.is_end_requested(),
        }
    }

    fn lose_guestd(&self) {
        let state = self.shared.lock().state.clone();
        if matches!(state, State::Running | State::Silent(_)) {
            self.shared.lock().pid = self.backend.pid();
            self.set_state(State::Restarting(Instant::now()));
        }
    }

    /// Updates the state from the backend's condition. Returns false when the backend has ended.
    fn check_backend(&mut self) -> bool {
        let state = self.shared.lock().state.clone();
        match self.backend.condition(self.end_signals()) {
            Condition::Alive if matches!(state, State::Paused | State::Panicked) => {
                // It had no heartbeat meanwhile.
                let greeted = self.watch.wake();
                self.set_state(if greeted {
                    State::Running
                } else {
                    State::Starting
                });
                true
            }
            Condition::Alive => true,
            Condition::Paused => {
                if !matches!(state, State::Paused | State::Corrupt(_)) {
                    self.set_state(State::Paused);
                }
                true
            }
            Condition::Panicked => {
                if !matches!(state, State::Panicked | State::Corrupt(_)) {
                    self.set_state(State::Panicked);
                    let n = self.number;
                    self.notices.post(format!(
                        "instance {n}'s kernel panicked; kmlog {n} --kernel prints its last lines, \
                         kmreset {n} starts it again"
                    ));
                }
                true
            }
            Condition::Ended(end) => {
                self.finish(&end);
                false
            }
        }
    }

    /// Handles the end of the backend.
    fn finish(&mut self, end: &End) {
        // Its last events are still in the rings.
        for _ in 0..1024 {
            let taken = !self.is_corrupt() && matches!(self.receive(Duration::ZERO), Ok(1..));
            if self.kernel.take().is_err() || !taken {
                break;
            }
        }
        let asked = self.end_signals().asked;
        // One of them may be a goodbye.
        let end = match self.backend.condition(self.end_signals()) {
            Condition::Ended(end) => end,
            _ => end.clone(),
        };
        if asked || end.is_clean {
            self.set_state(State::Halted);
            if !asked {
                self.notices
                    .post(format!("instance {} has ended by itself", self.number));
            }
        } else {
            // The reason why its region is broken is more useful than how it ended.
            let cause = self.shared.lock().state.broken().map(str::to_owned);
            self.set_state(match cause {
                Some(cause) => State::Corrupt(format!("{cause}; {}", end.how)),
                None => State::Dead(end.how.clone()),
            });
            self.report_problem(&format!("died: {}", end.how));
        }
    }

    fn become_corrupt(&self, error: &LinkError) {
        if self.shared.become_corrupt(error) {
            let what = match error {
                LinkError::Evicted => format!("was lost: {error}"),
                _ => format!("broke its region: {error}"),
            };
            self.report_problem(&what);
        }
    }

    fn set_state(&self, state: State) {
        self.shared.set_state(state);
    }

    fn report_problem(&self, what: &str) {
        let n = self.number;
        self.notices
            .post(format!("instance {n} {what}; kmreset {n} starts it again"));
    }
}

#[cfg(test)]
mod tests;
