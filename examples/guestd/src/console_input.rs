//! The console's input: bytes from KMON that the terminal has not accepted yet.
//!
//! The command loop owns it, and it never waits: a program that does not read its input must not
//! delay the heartbeat.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::console::{Console, Session};

/// The most bytes that wait; more are dropped and counted.
const LIMIT: usize = 1 << 20;
/// The longest time until written bytes show as unread on the slave side.
const SETTLED: Duration = Duration::from_millis(100);

/// Writes input to the console's current shell.
pub(crate) struct ConsoleInput {
    console: Arc<Console>,
    pending: VecDeque<u8>,
    /// Number of the shell that `pending` is for.
    meant_for: Option<u64>,
    dropped: u64,
    last: Option<Instant>,
}

impl ConsoleInput {
    pub(crate) fn new(console: Arc<Console>) -> Self {
        Self {
            console,
            pending: VecDeque::new(),
            meant_for: None,
            dropped: 0,
            last: None,
        }
    }

    /// Adds `bytes`, and writes as many as the terminal accepts now.
    pub(crate) fn enter(&mut self, bytes: &[u8]) {
        self.flush();
        let room = LIMIT - self.pending.len();
        let (kept, rest) = bytes.split_at(bytes.len().min(room));
        self.pending.extend(kept);
        self.count_dropped(rest.len());
        self.last = Some(Instant::now());
        self.flush();
    }

    /// Writes as many waiting bytes as the terminal accepts.
    pub(crate) fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let Some(session) = self.console.session() else {
            return;
        };
        if *self.meant_for.get_or_insert(session.number) != session.number {
            // Input for a shell that has ended: no other shell may run it.
            let lost = self.pending.len();
            self.pending.clear();
            self.count_dropped(lost);
        }
        self.write(&session);
        if self.pending.is_empty() {
            self.meant_for = None;
        }
    }

    /// Returns true if input waits for the terminal.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Returns true if all input has certainly reached the slave side.
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
                "no program reads the console's input: {} bytes dropped in all",
                self.dropped
            ));
        }
    }
}
