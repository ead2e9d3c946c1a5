//! Shows output on a terminal that may be slow.
//!
//! A separate thread writes, so that input is read at any time. Output that waits can be dropped.

use std::collections::VecDeque;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::instance::modes::Modes;
use crate::terminal;

/// Bytes written to the terminal at once: a drop takes effect after them.
const PIECE: usize = 4096;

/// Output that waits for the terminal.
#[derive(Default)]
pub(super) struct Display {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    waiting: usize,
    /// A piece is being written.
    is_writing: bool,
    is_over: bool,
    shown: Shown,
}

struct Piece {
    bytes: Vec<u8>,
    /// The position after the bytes.
    position: Option<u64>,
}

/// What the terminal shows.
#[derive(Clone, Default)]
pub(super) struct Shown {
    /// The position after the last byte.
    pub(super) position: Option<u64>,
    pub(super) modes: Modes,
    /// The last byte was not the end of a line.
    pub(super) is_inside_line: bool,
}

impl Display {
    /// Adds output.
    pub(super) fn show(&self, bytes: &[u8], position: Option<u64>) {
        let mut queue = self.lock();
        let mut left = bytes.len();
        for part in bytes.chunks(PIECE) {
            left -= part.len();
            queue.waiting += part.len();
            queue.pieces.push_back(Piece {
                bytes: part.to_vec(),
                position: position.map(|position| position - left as u64),
            });
        }
        self.changed.notify_all();
    }

    /// Returns how many bytes wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Drops the output that waits. Returns how many bytes.
    pub(super) fn drop_waiting(&self) -> usize {
        let mut queue = self.lock();
        queue.pieces.clear();
        std::mem::take(&mut queue.waiting)
    }

    pub(super) fn shown(&self) -> Shown {
        self.lock().shown.clone()
    }

    /// Returns true if nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        let queue = self.lock();
        queue.pieces.is_empty() && !queue.is_writing
    }

    /// Ends the writing thread after its current piece.
    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    /// Writes to the terminal until [`Display::end`]. Writes a byte to `wake` after each piece.
    pub(super) fn write_all(&self, mut wake: &UnixStream) {
        while let Some(piece) = self.next() {
            // A terminal that is gone shows nothing, which the input side notices.
            let _ = terminal::write_stdout(&piece.bytes);
            let mut queue = self.lock();
            queue.is_writing = false;
            let shown = &mut queue.shown;
            shown.modes.feed(&piece.bytes);
            shown.position = piece.position.or(shown.position);
            shown.is_inside_line = piece.bytes.last() != Some(&b'\n');
            terminal::remember_undo(shown.modes.undo());
            drop(queue);
            // A full pipe wakes the reader, too.
            let _ = wake.write_all(b"x");
        }
    }

    /// Waits for the next piece; `None` at the end.
    fn next(&self) -> Option<Piece> {
        let mut queue = self.lock();
        loop {
            if queue.is_over {
                return None;
            }
            if let Some(piece) = queue.pieces.pop_front() {
                queue.waiting -= piece.bytes.len();
                queue.is_writing = true;
                return Some(piece);
            }
            let waited = self.changed.wait(queue);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_has_the_position_after_it_and_a_drop_leaves_none() {
        let display = Display::default();
        display.show(&[b'x'; PIECE + 10], Some(100_000));
        let first = display.next().unwrap();
        assert_eq!((first.bytes.len(), first.position), (PIECE, Some(99_990)));
        assert_eq!((display.waiting(), display.drop_waiting()), (10, 10));
        assert!(!display.is_empty(), "the first piece is being written");
        display.end();
        assert!(display.next().is_none());
    }
}
