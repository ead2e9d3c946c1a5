//! One turn of an instance's receiving thread: take what it and its kernel said,
//! keep the heartbeat, see how it is.
//!
//! - **P1** A turn ends within about 250 ms, whatever the instance does: the
//!   heartbeat goes on, and no other instance has to wait.
//! - **P2** While a front end that shows the output is behind, the turn takes
//!   nothing from the ring, so that the instance waits for the terminal; but
//!   not longer than [`PATIENCE`] without progress.
//! - **P3** An incarnation of guestd begins, for the front end, with its greeting in the
//!   ring: all output before is the earlier one's, and what was typed before is for that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kmon_protocol::link::EventReceiver;
use kmon_protocol::link::memory::faults;
use kmon_protocol::{LinkError, Received};

use super::events::{News, note, take_event};
use super::flags::Flags;
use super::kernel::KernelFeed;
use super::outbox::Outbox;
use super::shared::Shared;
use super::state::State;
use super::trial::Trials;
use super::watch::Watch;
use crate::backend::{Backend, Condition, End, EndSignals};
use crate::notices::Notices;

/// How long a turn waits for the instance to say something.
const TURN: Duration = Duration::from_millis(50);
/// The same where nothing has happened for [`QUIET`]: each wake-up costs a processor some 30 µs.
const IDLE_TURN: Duration = Duration::from_millis(200);
/// How long after the last event an instance counts as idle.
const QUIET: Duration = Duration::from_secs(1);
/// How long an instance waits for a terminal that makes no progress.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes a front end may be behind before the instance waits for it.
const HIGH_WATER: u64 = 64 * 1024;

/// What the receiving thread works with.
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
    /// Notices that are due at the end of the turn, when the state is as they say.
    pub(super) lines: Vec<String>,
    /// Time between two statistics of the instance.
    pub(super) period: Duration,
    /// When the last event came, or the state was another than running.
    pub(super) busy: Instant,
}

impl Pump<'_> {
    /// One turn; false when the instance's backend has ended.
    pub(super) fn turn(&mut self) -> bool {
        if self.is_corrupt() {
            std::thread::sleep(TURN);
            return self.look_at_body();
        }
        let received = if self.front_end_is_behind() {
            drop(self.shared.wait(self.shared.lock(), TURN));
            Ok(0)
        } else {
            self.receive(self.longest_wait())
        };
        let received = received.and_then(|_| self.kernel.take());
        if let Err(error) = received.and_then(|()| self.receiver.beat()) {
            self.become_corrupt(&error);
        } else {
            self.take_stats();
            self.follow();
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
        self.look_at_body()
    }

    /// How long this turn may wait: as long as what is polled may be late.
    fn longest_wait(&self) -> Duration {
        match self.busy.elapsed() < QUIET {
            true => TURN,
            false => IDLE_TURN.min(self.period).max(TURN),
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
                    note(&event, &mut view, outbox, watch, &mut news);
                    take_event(&mut view, event, watch.backlog.is_none());
                    view.log.commit(at);
                }
                Received::Restarted => {
                    outbox.suspend();
                    view.lose_guestd();
                    watch.lose_guestd();
                    news.seam = true;
                }
            }
        });
        if news.seam {
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

    /// Whether to hold the instance back for the front end's sake (P2).
    fn front_end_is_behind(&mut self) -> bool {
        let backlog = self.shared.lock().backlog();
        if backlog <= HIGH_WATER {
            self.watch.backlog = None;
            return false;
        }
        let now = Instant::now();
        match self.watch.backlog {
            Some((before, since)) if backlog >= before => {
                // The patience was in vain: from here on the oldest output gives way.
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

    /// Finds out what works across the memory; what does not is said.
    fn try_memory(&mut self) {
        if self.shared.lock().state != State::Running {
            return;
        }
        let Some(verdict) = self.trials.turn(&mut self.receiver) else {
            return;
        };
        let n = self.number;
        let lines = faults(&verdict).map(|fault| format!("instance {n}: {fault}"));
        self.lines.extend(lines);
        self.shared.lock().memory = Some(verdict);
    }

    /// Looks at the heartbeat, and at guestd's process.
    fn follow(&mut self) {
        self.watch.see(self.receiver.peer_beat());
        if self.watch.misses_guestd() {
            let inside = self.receiver.peer_process().number;
            self.watch.guestd = self.backend.guestd(inside);
            if let Some(guestd) = &self.watch.guestd {
                self.shared.lock().pid = Some(guestd.pid());
            }
        }
        let signals = self.end_signals();
        // Where the backend stays when guestd has taken its leave, another one comes.
        let left = signals.goodbye && !self.backend.ends_with_guestd();
        let died = self.watch.guestd_is_gone() && !signals.goodbye;
        if (left || died || self.backend.has_rebooted()) && !signals.asked {
            // What it has said last may still be in the ring.
            self.outbox.suspend();
            self.watch.presume_lost(self.receiver.peer_beat());
            self.lose_guestd();
        }
        self.undo_old_news();
        let state = self.shared.lock().state.clone();
        match state {
            State::Starting | State::Restarting(_) if self.watch.is_there() => {
                self.set_state(State::Running);
            }
            // One that an earlier KMON left may be stalled from the beginning.
            // One that takes its leave need not beat.
            State::Running | State::Starting if self.watch.has_stalled() && !signals.goodbye => {
                self.set_state(State::Stalled(self.watch.since));
                self.say("is stalled: its heartbeat stands still", "starts it again");
            }
            State::Stalled(_) if self.watch.is_there() => {
                self.set_state(State::Running);
                self.notices
                    .post(format!("instance {} runs again", self.number));
            }
            _ => {}
        }
    }

    /// A boot that guestd greeted after is no news. So it is where KMON was stopped meanwhile: it
    /// finds the greeting and the boot at the same time.
    fn undo_old_news(&mut self) {
        let incarnation = self.receiver.peer_incarnation();
        let is_known = self.shared.lock().log.incarnation() == incarnation;
        if is_known && self.watch.runs_after_all() {
            self.watch.greet();
            self.outbox.begin(incarnation);
        }
    }

    fn end_signals(&self) -> EndSignals {
        EndSignals {
            goodbye: self.watch.goodbye,
            asked: self.flags.is_asked(),
        }
    }

    fn lose_guestd(&self) {
        let state = self.shared.lock().state.clone();
        if matches!(state, State::Running | State::Stalled(_)) {
            self.shared.lock().pid = self.backend.pid();
            self.set_state(State::Restarting(Instant::now()));
        }
    }

    /// Follows the backend's condition; false when it has ended.
    fn look_at_body(&mut self) -> bool {
        let state = self.shared.lock().state.clone();
        match self.backend.condition(self.end_signals()) {
            Condition::Alive if matches!(state, State::Paused | State::Panicked) => {
                // Its heart has not beaten meanwhile.
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
                        "instance {n}'s kernel panicked; kmlog {n} --kernel has its last lines, \
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

    /// The backend has ended.
    fn finish(&mut self, end: &End) {
        // Its last words are still in the rings.
        for _ in 0..1024 {
            let taken = !self.is_corrupt() && matches!(self.receive(Duration::ZERO), Ok(1..));
            if self.kernel.take().is_err() || !taken {
                break;
            }
        }
        let asked = self.end_signals().asked;
        // The last words may have been a goodbye.
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
            // Why its region is broken says more than how it ended.
            let cause = self.shared.lock().state.broken().map(str::to_owned);
            self.set_state(match cause {
                Some(cause) => State::Corrupt(format!("{cause}; {}", end.how)),
                None => State::Dead(end.how.clone()),
            });
            self.say(&format!("died: {}", end.how), "starts it again");
        }
    }

    fn become_corrupt(&self, error: &LinkError) {
        if self.shared.become_corrupt(error) {
            let what = match error {
                LinkError::Evicted => format!("is lost: {error}"),
                _ => format!("broke its region: {error}"),
            };
            self.say(&what, "starts it again");
        }
    }

    fn set_state(&self, state: State) {
        self.shared.lock().state = state;
        self.shared.announce();
    }

    fn say(&self, what: &str, remedy: &str) {
        let n = self.number;
        self.notices
            .post(format!("instance {n} {what}; kmreset {n} {remedy}"));
    }
}

#[cfg(test)]
mod tests;
