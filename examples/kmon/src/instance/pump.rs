//! One turn of an instance's receiving thread: take what it said, keep the
//! heartbeat, see how it is.
//!
//! - **P1** A turn ends within about 50 ms, whatever the instance does: the
//!   heartbeat goes on, and no other instance has to wait.
//! - **P2** While a front end that shows the output is behind, the turn takes
//!   nothing from the ring, so that the instance waits for the terminal; but
//!   not longer than [`PATIENCE`] without progress.

use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kmon_protocol::link::EventReceiver;
use kmon_protocol::{Event, LinkError};

use super::shared::{Shared, Stream, View};
use super::state::State;
use crate::embedded;
use crate::notices::Notices;

/// How long a turn waits for the instance to say something.
const TURN: Duration = Duration::from_millis(50);
/// A heartbeat that stands still for longer makes an instance stalled; a busy
/// machine may leave a healthy one without a processor for over a second.
const STALE: Duration = Duration::from_secs(3);
/// How long an instance waits for a terminal that makes no progress.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes a front end may be behind before the instance waits for it.
const HIGH_WATER: u64 = 64 * 1024;

/// What the receiving thread works with.
pub(super) struct Pump<'m> {
    pub(super) number: u8,
    pub(super) receiver: EventReceiver<'m>,
    pub(super) child: Child,
    pub(super) shared: Arc<Shared>,
    pub(super) notices: Arc<Notices>,
    /// The operator has asked for the end: it is no accident.
    pub(super) halting: Arc<AtomicBool>,
    pub(super) watch: Watch,
}

/// What a turn remembers for the next one.
pub(super) struct Watch {
    beat: u32,
    beat_changed: Instant,
    /// The backlog when the front end was last seen to move, and when.
    backlog: Option<(u64, Instant)>,
    goodbye: bool,
    shells: ShellEnds,
}

/// How the console's shells ended: one that always ends at once is no shell.
#[derive(Default)]
struct ShellEnds {
    in_a_row: u32,
    last: Option<Instant>,
    told: bool,
}

impl ShellEnds {
    /// Short lives in a row that are no accident.
    const TOO_MANY: u32 = 3;
    /// A life this short, with the daemon's pause before the next, is one.
    const SHORT: Duration = Duration::from_secs(3);

    /// A shell has ended; true the first time there were too many short lives.
    fn note(&mut self) -> bool {
        let short = self.last.is_none_or(|last| last.elapsed() < Self::SHORT);
        self.in_a_row = if short { self.in_a_row + 1 } else { 1 };
        self.last = Some(Instant::now());
        self.in_a_row >= Self::TOO_MANY && !std::mem::replace(&mut self.told, true)
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            beat: 0,
            beat_changed: Instant::now(),
            backlog: None,
            goodbye: false,
            shells: ShellEnds::default(),
        }
    }
}

impl Pump<'_> {
    /// One turn; false when the instance's process is gone.
    pub(super) fn turn(&mut self) -> bool {
        if self.is_corrupt() {
            std::thread::sleep(TURN);
        } else if self.front_end_is_behind() {
            drop(self.shared.wait(self.shared.lock(), TURN));
        } else if let Err(error) = self.receive(TURN) {
            self.become_corrupt(&error);
        }
        self.receiver.beat();
        self.take_stats();
        self.follow_heartbeat();
        self.process_lives()
    }

    fn is_corrupt(&self) -> bool {
        matches!(self.shared.lock().state, State::Corrupt(_))
    }

    fn receive(&mut self, timeout: Duration) -> Result<usize, LinkError> {
        let (shared, watch) = (&self.shared, &mut self.watch);
        let patient = watch.backlog.is_none();
        let mut hopeless = None;
        let handled = self.receiver.receive(timeout, |event| {
            watch.goodbye |= matches!(event, Event::Goodbye);
            if let Event::ShellRestarted { status } = event
                && watch.shells.note()
            {
                hopeless = Some(status);
            }
            take_event(&mut shared.lock(), event, patient);
        })?;
        if handled > 0 {
            self.shared.announce();
        }
        if let Some(status) = hopeless {
            let n = self.number;
            self.notices.say(format!(
                "instance {n}'s shell ends at once (status {status}); shell in kmon.toml names another"
            ));
        }
        Ok(handled)
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

    fn follow_heartbeat(&mut self) {
        let beat = self.receiver.peer_beat();
        if beat != self.watch.beat {
            self.watch.beat = beat;
            self.watch.beat_changed = Instant::now();
        }
        let stale = self.watch.beat_changed.elapsed() > STALE;
        let state = self.shared.lock().state.clone();
        match state {
            State::Starting if beat != 0 => {
                self.shared.lock().pid = embedded::daemon_pid(self.child.id());
                self.set_state(State::Running);
            }
            State::Running if stale => {
                self.set_state(State::Stalled(self.watch.beat_changed));
                self.say("is stalled: its heartbeat stands still", "starts it again");
            }
            State::Stalled(_) if !stale => {
                self.set_state(State::Running);
                self.notices
                    .say(format!("instance {} runs again", self.number));
            }
            _ => {}
        }
    }

    fn process_lives(&mut self) -> bool {
        let Ok(Some(status)) = self.child.try_wait() else {
            return true;
        };
        // Its last words are still in the ring.
        for _ in 0..1024 {
            if self.is_corrupt() || !matches!(self.receive(Duration::ZERO), Ok(1..)) {
                break;
            }
        }
        let asked = self.halting.load(Ordering::Relaxed);
        if asked || (self.watch.goodbye && status.success()) {
            self.set_state(State::Halted);
            if !asked {
                self.notices
                    .say(format!("instance {} has ended by itself", self.number));
            }
        } else {
            let how = embedded::describe_end(status);
            self.set_state(State::Dead(how.clone()));
            self.say(&format!("died: {how}"), "starts it again");
        }
        false
    }

    fn become_corrupt(&mut self, error: &LinkError) {
        self.set_state(State::Corrupt(error.to_string()));
        self.say(&format!("broke its region: {error}"), "starts it again");
    }

    fn set_state(&self, state: State) {
        self.shared.lock().state = state;
        self.shared.announce();
    }

    fn say(&self, what: &str, remedy: &str) {
        let n = self.number;
        self.notices
            .say(format!("instance {n} {what}; kmreset {n} {remedy}"));
    }
}

/// Puts what an instance said where it belongs. `patient`: an operator who
/// watches is to see all of it.
fn take_event(view: &mut View, event: Event<'_>, patient: bool) {
    match event {
        Event::Output(bytes) => {
            view.printed = true;
            if patient && view.attached {
                view.log.append_patiently(bytes);
            } else {
                view.log.append(bytes);
            }
        }
        Event::Stdout { stream, bytes } => {
            if let Some(exec) = view.execs.get_mut(&stream) {
                exec.push(Stream::Out, bytes);
            }
        }
        Event::Stderr { stream, bytes } => {
            if let Some(exec) = view.execs.get_mut(&stream) {
                exec.push(Stream::Err, bytes);
            }
        }
        Event::Ended { stream, ending } => {
            if let Some(exec) = view.execs.get_mut(&stream) {
                exec.ending = Some(ending);
            }
        }
        Event::Idle { stream, idle } => view.idle = Some((stream, idle)),
        Event::Dropped { bytes } => {
            view.dropped_by_instance = view.dropped_by_instance.max(bytes);
        }
        Event::Hello { .. } | Event::ShellRestarted { .. } | Event::Goodbye => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kmon_protocol::Ending;

    #[test]
    fn output_of_an_exec_that_nobody_waits_for_is_not_kept() {
        let shared = Shared::new(64);
        let mut view = shared.lock();
        let bytes = b"late";
        take_event(&mut view, Event::Stdout { stream: 7, bytes }, true);
        assert!(view.execs.is_empty());
        view.execs.insert(7, Default::default());
        take_event(&mut view, Event::Stderr { stream: 7, bytes }, true);
        let ending = Ending::Exited(3);
        take_event(&mut view, Event::Ended { stream: 7, ending }, true);
        assert_eq!(view.execs[&7].chunks[0], (Stream::Err, bytes.to_vec()));
        assert_eq!(view.execs[&7].ending, Some(Ending::Exited(3)));
    }

    #[test]
    fn only_a_front_end_that_is_there_counts_as_behind() {
        let shared = Shared::new(1024);
        let mut view = shared.lock();
        take_event(&mut view, Event::Output(&[b'x'; 100]), true);
        assert_eq!(view.backlog(), 0);
        view.attached = true;
        assert_eq!(view.backlog(), 100);
    }
}
