//! The console's input: what KMON sent and the terminal has not taken yet.
//!
//! Owned by the command loop, and never waits: a program that reads nothing
//! must not keep the loop from its heartbeat.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::console::{Console, Session};

/// Bytes that wait at most; what comes beyond is dropped and counted.
const LIMIT: usize = 1 << 20;
/// Time that typed bytes need at most to be seen as unread at the terminal's other side.
const SETTLED: Duration = Duration::from_millis(100);

/// Types into whichever shell the console has.
pub(crate) struct Typist {
    console: Arc<Console>,
    pending: VecDeque<u8>,
    /// Number of the shell that `pending` was sent to.
    meant_for: Option<u64>,
    dropped: u64,
    last: Option<Instant>,
}

impl Typist {
    pub(crate) fn new(console: Arc<Console>) -> Self {
        Self {
            console,
            pending: VecDeque::new(),
            meant_for: None,
            dropped: 0,
            last: None,
        }
    }

    /// Types `bytes`, now as far as the terminal takes them.
    pub(crate) fn enter(&mut self, bytes: &[u8]) {
        self.flush();
        let room = LIMIT - self.pending.len();
        let (kept, rest) = bytes.split_at(bytes.len().min(room));
        self.pending.extend(kept);
        self.count_dropped(rest.len());
        self.last = Some(Instant::now());
        self.flush();
    }

    /// Types what waits, as far as the terminal takes it.
    pub(crate) fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let Some(session) = self.console.session() else {
            return;
        };
        if *self.meant_for.get_or_insert(session.number) != session.number {
            // Typed at a shell that has ended: no other may run it.
            let lost = self.pending.len();
            self.pending.clear();
            self.count_dropped(lost);
        }
        self.write(&session);
        if self.pending.is_empty() {
            self.meant_for = None;
        }
    }

    /// Whether input waits for the terminal.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether all input has long reached the terminal's other side.
    pub(crate) fn is_settled(&self) -> bool {
        !self.is_waiting() && self.last.is_none_or(|last| last.elapsed() >= SETTLED)
    }

    fn write(&mut self, session: &Session) {
        while !self.pending.is_empty() {
            let (front, _) = self.pending.as_slices();
            match session.pty.write(front) {
                Ok(0) | Err(_) => return,
                Ok(written) => drop(self.pending.drain(..written)),
            }
            self.last = Some(Instant::now());
        }
    }

    fn count_dropped(&mut self, bytes: usize) {
        if bytes > 0 {
            self.dropped += bytes as u64;
            crate::log(format_args!(
                "nobody reads the console's input: {} bytes dropped in all",
                self.dropped
            ));
        }
    }
}
