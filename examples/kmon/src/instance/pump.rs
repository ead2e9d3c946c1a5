//! One turn of an instance's receiving thread: take what it said, keep the
//! heartbeat, see how it is.
//!
//! - **P1** A turn ends within about 50 ms, whatever the instance does: the
//!   heartbeat goes on, and no other instance has to wait.
//! - **P2** While a front end that shows the output is behind, the turn takes
//!   nothing from the ring, so that the instance waits for the terminal; but
//!   not longer than [`PATIENCE`] without progress.
//! - **P3** A life of guestd begins, for the front end, with its greeting in the
//!   ring: all output before is the earlier one's, and what was typed before is for that.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kmon_protocol::link::{EventReceiver, VERSION};
use kmon_protocol::{Event, LinkError, Received};

use super::outbox::{Discarded, Outbox};
use super::run::Flags;
use super::shared::{Shared, Stream, View};
use super::state::State;
use super::watch::Watch;
use crate::embedded;
use crate::embedded::process::Process;
use crate::notices::Notices;

/// How long a turn waits for the instance to say something.
const TURN: Duration = Duration::from_millis(50);
/// How long an instance waits for a terminal that makes no progress.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes a front end may be behind before the instance waits for it.
const HIGH_WATER: u64 = 64 * 1024;

/// What the receiving thread works with.
pub(super) struct Pump<'m> {
    pub(super) number: u8,
    pub(super) receiver: EventReceiver<'m>,
    /// The instance's first process.
    pub(super) process: Process,
    pub(super) shared: Arc<Shared>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) notices: Arc<Notices>,
    pub(super) flags: Arc<Flags>,
    pub(super) watch: Watch,
    /// Notices that are due at the end of the turn, when the state is as they say.
    pub(super) lines: Vec<String>,
}

/// What the events of one turn have brought.
#[derive(Default)]
struct News {
    lines: Vec<String>,
    seam: bool,
    broken: Option<LinkError>,
}

impl Pump<'_> {
    /// One turn; false when the instance's process is gone.
    pub(super) fn turn(&mut self) -> bool {
        if self.is_corrupt() {
            std::thread::sleep(TURN);
            return self.process_lives();
        }
        let received = if self.front_end_is_behind() {
            drop(self.shared.wait(self.shared.lock(), TURN));
            Ok(0)
        } else {
            self.receive(TURN)
        };
        if let Err(error) = received.and_then(|_| self.receiver.beat()) {
            self.become_corrupt(&error);
        } else {
            self.take_stats();
            self.follow();
        }
        for line in self.lines.drain(..) {
            if self.watch.may_notice() {
                self.notices.say(line);
            }
        }
        self.process_lives()
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
        let lines = news.lines.into_iter();
        self.lines
            .extend(lines.map(|line| format!("instance {}{line}", self.number)));
        let handled = handled?;
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

    /// Looks at the heartbeat, and at guestd's process.
    fn follow(&mut self) {
        self.watch.see(self.receiver.peer_beat());
        if self.watch.misses_guestd() {
            let inside = self.receiver.peer_process().number;
            self.watch.guestd = embedded::guestd_process(&self.process, inside);
            self.shared.lock().pid = self.watch.guestd.as_ref().map(Process::pid);
        }
        let ends = self.watch.goodbye || self.flags.halting.load(Ordering::Relaxed);
        if self.watch.guestd_is_gone() && !ends {
            // What it has said last may still be in the ring.
            self.outbox.suspend();
            self.watch.lose_guestd();
            self.lose_guestd();
        }
        let state = self.shared.lock().state.clone();
        match state {
            State::Starting | State::Restarting(_) if self.watch.is_there() => {
                self.set_state(State::Running);
            }
            // One that an earlier KMON left may be stalled from the beginning.
            State::Running | State::Starting if self.watch.has_stalled() => {
                self.set_state(State::Stalled(self.watch.since));
                self.say("is stalled: its heartbeat stands still", "starts it again");
            }
            State::Stalled(_) if self.watch.is_there() => {
                self.set_state(State::Running);
                self.notices
                    .say(format!("instance {} runs again", self.number));
            }
            _ => {}
        }
    }

    fn lose_guestd(&self) {
        let state = self.shared.lock().state.clone();
        if matches!(state, State::Running | State::Stalled(_)) {
            self.shared.lock().pid = None;
            self.set_state(State::Restarting(Instant::now()));
        }
    }

    fn process_lives(&mut self) -> bool {
        if !self.process.has_ended() {
            return true;
        }
        // Its last words are still in the ring.
        for _ in 0..1024 {
            if self.is_corrupt() || !matches!(self.receive(Duration::ZERO), Ok(1..)) {
                break;
            }
        }
        let asked = self.flags.halting.load(Ordering::Relaxed);
        let status = self.process.bury();
        let in_order = status.is_none_or(|status| status.success());
        if asked || (self.watch.goodbye && in_order) {
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

    fn become_corrupt(&self, error: &LinkError) {
        if self.shared.become_corrupt(error) {
            let what = match error {
                LinkError::Replaced => format!("is lost: {error}"),
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
            .say(format!("instance {n} {what}; kmreset {n} {remedy}"));
    }
}

/// Notes what an event says of guestd and its life, beside what it brings.
fn note(event: &Event<'_>, view: &mut View, outbox: &Outbox, watch: &mut Watch, news: &mut News) {
    match *event {
        Event::Hello { version, .. } if version != VERSION => {
            let what = format!("guestd speaks version {version} of the protocol, KMON {VERSION}");
            news.broken = Some(LinkError::Broken(what));
        }
        Event::Hello { life, .. } => {
            watch.greet();
            if view.log.life() != life {
                view.lose_guestd();
                watch.guestd = None;
            }
            // Nothing that was typed before what follows is for it (P3).
            let discarded = outbox.begin(life);
            view.log.note_discarded(discarded.commands as u64);
            if view.log.new_life(life) {
                let what = describe(discarded);
                news.lines
                    .push(format!(": guestd was restarted (life {life}){what}"));
            }
        }
        Event::Goodbye => watch.goodbye = true,
        Event::ShellRestarted { status } if watch.shells.note() => news.lines.push(format!(
            "'s shell ends at once (status {status}); shell in kmon.toml names another"
        )),
        Event::Discarded { commands } => {
            view.log.note_discarded(commands.into());
            let were = if commands == 1 { " was" } else { "s were" };
            news.lines.push(format!(
                ": {commands} command{were} sent before a restart and not run"
            ));
        }
        _ => {}
    }
}

fn describe(discarded: Discarded) -> String {
    let count = |count: usize, one: &str, more: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {more}")),
    };
    let parts = [
        count(discarded.input, "byte of input", "bytes of input"),
        count(discarded.commands, "command", "commands"),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        return String::new();
    }
    format!("; discarded: {}", parts.join(", "))
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
        Event::Dropped { bytes } => view.log.note_dropped(bytes),
        Event::Hello { .. }
        | Event::ShellRestarted { .. }
        | Event::Discarded { .. }
        | Event::Goodbye => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::log::OutputLog;
    use kmon_protocol::Ending;

    #[test]
    fn output_of_an_exec_that_nobody_waits_for_is_not_kept() {
        let shared = Shared::new(OutputLog::in_memory(64));
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
        let shared = Shared::new(OutputLog::in_memory(1024));
        let mut view = shared.lock();
        take_event(&mut view, Event::Output(&[b'x'; 100]), true);
        assert_eq!(view.backlog(), 0);
        view.attached = true;
        assert_eq!(view.backlog(), 100);
    }
}
