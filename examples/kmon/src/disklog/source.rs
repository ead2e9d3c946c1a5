//! What a log is written from: output that is kept in memory for a while.
//!
//! The kept output is the queue between those who print and the writing thread: it is bounded, who
//! prints never waits, and what is overwritten before it is written is counted.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Output with positions that count its bytes.
pub(crate) trait Source: Send + Sync {
    /// Returns the number that identifies this output.
    fn id(&self) -> u64;

    /// Returns what is kept.
    fn extent(&self) -> Extent;

    /// Returns up to `max` bytes from `position` on (or from the oldest byte, if that is newer),
    /// and the position of the first.
    fn read(&self, position: u64, max: usize) -> (u64, Vec<u8>);
}

/// What a source keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The position of the oldest byte kept.
    pub(crate) start: u64,
    /// The position after the newest byte.
    pub(crate) end: u64,
    /// Bytes that never got a position, because the instance dropped them.
    pub(crate) dropped: u64,
}

/// Returns a number that identifies a new output. It is not 0.
pub(crate) fn new_id() -> u64 {
    // Each has other random keys.
    RandomState::new().hash_one(std::process::id()).max(1)
}

/// KMON's notices, until they are written.
pub(super) struct NoticeQueue {
    id: u64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    bytes: VecDeque<u8>,
    end: u64,
}

impl NoticeQueue {
    /// Bytes kept at most.
    const CAPACITY: usize = 256 * 1024;

    pub(super) fn new() -> Self {
        Self {
            id: new_id(),
            kept: Mutex::default(),
        }
    }

    /// Adds a line.
    pub(super) fn put(&self, line: &str) {
        let mut kept = self.lock();
        kept.bytes.extend(line.bytes().map(one_line).chain([b'\n']));
        kept.end += line.len() as u64 + 1;
        let excess = kept.bytes.len().saturating_sub(Self::CAPACITY);
        kept.bytes.drain(..excess);
    }

    /// Drops what is before `position`.
    pub(super) fn release(&self, position: u64) {
        let mut kept = self.lock();
        let done = position.saturating_sub(kept.start());
        let done = kept
            .bytes
            .len()
            .min(usize::try_from(done).unwrap_or(usize::MAX));
        kept.bytes.drain(..done);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn one_line(byte: u8) -> u8 {
    if byte == b'\n' { b' ' } else { byte }
}

impl Kept {
    fn start(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }
}

impl Source for NoticeQueue {
    fn id(&self) -> u64 {
        self.id
    }

    fn extent(&self) -> Extent {
        let kept = self.lock();
        Extent {
            start: kept.start(),
            end: kept.end,
            dropped: 0,
        }
    }

    fn read(&self, position: u64, max: usize) -> (u64, Vec<u8>) {
        let kept = self.lock();
        let from = position.clamp(kept.start(), kept.end);
        let skip = usize::try_from(from - kept.start()).unwrap_or(usize::MAX);
        (
            from,
            kept.bytes.iter().skip(skip).take(max).copied().collect(),
        )
    }
}
