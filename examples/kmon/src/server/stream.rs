//! The output of a console: what is sent next (`api::console`, W1 and W2).

use std::time::{Duration, Instant};

use axum::extract::ws::Message;

use super::socket::text;
use crate::api::console::{FromServer, OutputEnd, Start, WINDOW};
use crate::instance::log::OutputLog;
use crate::instance::modes::Modes;
use crate::instance::outbox::{Order, Outbox};
use crate::instance::shared::View;
use crate::instance::state::State;

/// Bytes of output in one message.
const CHUNK: usize = 16 * 1024;
/// A skip ends when nothing was printed for this long, or after [`MAX_SKIP`].
const QUIET: Duration = Duration::from_millis(40);
const MAX_SKIP: Duration = Duration::from_millis(300);
/// Bytes at the end of skipped output that are shown nevertheless, from a line's start on.
const SHOWN_END: u64 = 1024;

/// The position of a client in an instance's output.
pub(super) struct Stream {
    /// The position of the next byte to send.
    position: u64,
    /// The position up to which the client has shown the output.
    shown: u64,
    /// The terminal modes at `position`.
    modes: Modes,
    skip: Option<Skip>,
    /// The client wants to know whether the instance is idle.
    query: Option<Query>,
    incarnation: u32,
}

struct Skip {
    since: Instant,
    end: u64,
    changed: Instant,
}

enum Query {
    Wanted,
    Sent(u32),
}

impl Stream {
    /// Begins at `start`. Returns the output that sets a new terminal's modes and shows the
    /// unfinished line before, too.
    pub(super) fn begin(log: &OutputLog, start: Start) -> (Self, Vec<u8>) {
        let (position, modes, before) = match start {
            Start::Seen => {
                let modes = log.modes().clone();
                let line = if modes.alternate() {
                    Vec::new()
                } else {
                    log.last_line()
                };
                let before = [modes.redo(), line].concat();
                (log.seen(), modes, before)
            }
            Start::Oldest => (log.start(), Modes::default(), Vec::new()),
            // The client continues, and knows the modes.
            Start::Position(position) => {
                let modes = log.modes().clone();
                (position.min(log.end()), modes, Vec::new())
            }
        };
        let stream = Self {
            position,
            shown: position,
            modes,
            skip: None,
            query: None,
            incarnation: log.incarnation(),
        };
        (stream, before)
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Notes that the client has shown the output up to `position`.
    pub(super) fn note_shown(&mut self, position: u64) {
        self.shown = position.clamp(self.shown, self.position);
    }

    /// Begins to skip output.
    pub(super) fn skip(&mut self, end: u64) {
        let now = Instant::now();
        self.skip.get_or_insert(Skip {
            since: now,
            end,
            changed: now,
        });
    }

    /// Returns when the next messages are due although nothing changes.
    pub(super) fn is_timed(&self) -> bool {
        self.skip.is_some()
    }

    pub(super) fn ask_idle(&mut self) {
        self.query.get_or_insert(Query::Wanted);
    }

    /// Returns the messages that are due, and whether they are the last ones.
    pub(super) fn next(&mut self, view: &mut View, outbox: &Outbox) -> (Vec<Message>, bool) {
        let mut messages = Vec::new();
        let incarnation = view.log.incarnation();
        if std::mem::replace(&mut self.incarnation, incarnation) != incarnation && incarnation > 1 {
            messages.push(text(&FromServer::Restarted(incarnation)));
        }
        if self.skip.is_some() {
            self.step_skip(&mut view.log, &mut messages);
            return (messages, false);
        }
        if self.position < view.log.start() {
            let missed = view.log.start() - self.position;
            messages.push(text(&FromServer::Missed(missed)));
            let modes = view.log.modes().clone();
            self.jump(view.log.start(), modes, &mut messages);
        }
        let room = WINDOW.saturating_sub(self.position - self.shown);
        let max = CHUNK.min(usize::try_from(room).unwrap_or(CHUNK));
        let (_, bytes) = view.log.read(self.position, max);
        if !bytes.is_empty() {
            self.position += bytes.len() as u64;
            self.modes.feed(&bytes);
            messages.push(Message::binary(bytes));
            return (messages, false);
        }
        if self.position < view.log.end() {
            return (messages, false);
        }
        self.answer_query(view, outbox, &mut messages);
        let has_ended = !matches!(
            view.state,
            State::Starting | State::Running | State::Restarting(_)
        );
        if has_ended {
            messages.push(text(&FromServer::Ended(OutputEnd {
                state: view.state.word().into(),
                detail: view.state.detail(),
            })));
        }
        (messages, has_ended)
    }

    /// Asks whether the instance is idle, or passes the answer on.
    fn answer_query(&mut self, view: &mut View, outbox: &Outbox, messages: &mut Vec<Message>) {
        match self.query {
            // A shell that has not shown its prompt yet is starting, not idle.
            Some(Query::Wanted) if !view.printed => {
                self.query = None;
                messages.push(text(&FromServer::Idle(false)));
            }
            Some(Query::Wanted) => {
                let stream = view.new_stream();
                outbox.put(Order::QueryIdle { stream });
                self.query = Some(Query::Sent(stream));
            }
            Some(Query::Sent(stream)) => {
                let answer = view.idle.filter(|(answered, _)| *answered == stream);
                if let Some((_, idle)) = answer {
                    self.query = None;
                    messages.push(text(&FromServer::Idle(idle)));
                }
            }
            None => {}
        }
    }

    /// Skips output until it pauses.
    fn step_skip(&mut self, log: &mut OutputLog, messages: &mut Vec<Message>) {
        let Some(skip) = &mut self.skip else {
            return;
        };
        if log.end() != skip.end {
            skip.end = log.end();
            skip.changed = Instant::now();
        }
        // Otherwise the instance would wait for this client.
        log.mark_seen(log.end());
        if skip.changed.elapsed() < QUIET && skip.since.elapsed() < MAX_SKIP {
            return;
        }
        self.skip = None;
        let (from, end) = log.read(log.end().saturating_sub(SHOWN_END), SHOWN_END as usize);
        let line = end
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        let target = (from + line as u64).max(self.position);
        let mut modes = self.modes.clone();
        let len = usize::try_from(target - self.position).unwrap_or(usize::MAX);
        modes.feed(&log.read(self.position, len).1);
        messages.push(text(&FromServer::Skipped(target - self.position)));
        self.jump(target, modes, messages);
    }

    /// Continues at `position`, where a terminal has `modes`.
    fn jump(&mut self, position: u64, modes: Modes, messages: &mut Vec<Message>) {
        if modes.word() != self.modes.word() {
            messages.push(Message::binary([self.modes.undo(), modes.redo()].concat()));
        }
        self.modes = modes;
        self.position = position;
        self.shown = position;
        messages.push(text(&FromServer::At(position)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::shared::Shared;

    fn shared() -> Shared {
        let shared = Shared::new(OutputLog::in_memory(1 << 20), OutputLog::in_memory(64));
        shared.set_state(State::Running);
        shared
    }

    fn drain(stream: &mut Stream, view: &mut View) -> (usize, Vec<String>) {
        let (mut bytes, mut texts) = (0, Vec::new());
        loop {
            let (messages, _) = stream.next(view, &Outbox::default());
            if messages.is_empty() {
                return (bytes, texts);
            }
            for message in messages {
                match message {
                    Message::Binary(part) => bytes += part.len(),
                    Message::Text(text) => texts.push(text.to_string()),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn a_client_that_shows_nothing_gets_one_window_and_learns_later_what_it_missed() {
        let shared = shared();
        let mut view = shared.lock();
        let (mut stream, _) = Stream::begin(&view.log, Start::Seen);
        view.log.append(&[b'x'; 600_000]);
        assert_eq!(drain(&mut stream, &mut view).0 as u64, WINDOW);
        view.log.append(&[b'y'; 1_000_000]);
        stream.note_shown(1000);
        let start = view.log.start();
        let (bytes, texts) = drain(&mut stream, &mut view);
        let missed = start - WINDOW;
        assert_eq!(
            texts,
            [
                format!("{{\"missed\":{missed}}}"),
                format!("{{\"at\":{start}}}")
            ]
        );
        assert_eq!(bytes as u64, WINDOW);
    }

    #[test]
    fn a_skip_reports_how_much_and_shows_the_last_lines_and_their_modes() {
        let shared = shared();
        let mut view = shared.lock();
        let (mut stream, _) = Stream::begin(&view.log, Start::Seen);
        view.log.append(b"\x1b[?2004h");
        view.log.append(&b"flood\r\n".repeat(50_000));
        view.log.append(b"^C\r\nprompt$ ");
        stream.skip(view.log.end());
        assert!(stream.next(&mut view, &Outbox::default()).0.is_empty());
        std::thread::sleep(QUIET * 2);
        let (bytes, texts) = drain(&mut stream, &mut view);
        assert!(texts[0].starts_with("{\"skipped\":3"), "{texts:?}");
        assert!(bytes <= 1024 + 8 && bytes > 500, "{bytes}");
        assert!(stream.modes.word() != 0);
        assert_eq!(view.log.unseen(), 0);
    }
}
