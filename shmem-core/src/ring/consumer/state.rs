//! The state of a consumer, and the stores that release bytes.

use super::super::error::PopError;
use super::super::memory::{Ring, SMALL};
use crate::claim::{Claim, OnRestart};
use crate::doorbell::{Ringer, Sleeper};
use crate::error::Corrupt;
use crate::pace::Pace;
use crate::primitive::Ordering::{Relaxed, Release};

/// The most records that one call discards. After that many it returns
/// [`PopError::Empty`], although there may be more. [`Consumer::is_empty`] then returns
/// `false`, and [`Consumer::wait`] does not sleep.
pub const MAX_DISCARDS: u32 = 64;

/// The end that pops. Dropping it releases the claim.
///
/// After another incarnation takes over this end, every call returns [`PopError::Evicted`]
/// (R7), even if this incarnation was not gone.
///
/// Aligned so that the two ends of a ring in one program do not share a line.
#[repr(align(128))]
pub struct Consumer<'m> {
    pub(super) ring: Ring<'m>,
    /// Our position: the first record not released. This end never loads the copy in memory,
    /// `position`.
    pub(super) head: u32,
    /// The last `head` that we stored to memory; `head` may be ahead of it.
    pub(super) stored_head: u32,
    /// Missing in small builds.
    pub(super) guess: [Guess; !SMALL as usize],
    /// The end of the record that was peeked last; `head` if there is none.
    pub(super) peeked: u32,
    /// The epoch of our end.
    pub(super) epoch: u32,
    /// The last known epoch of the producer; 0 if there was none.
    pub(super) peer: u32,
    pub(super) on_restart: OnRestart,
    pub(super) discarded: u32,
    pub(super) claim: Claim<'m>,
    /// The error that every later call returns.
    pub(super) terminal: Option<PopError>,
    pub(super) records: Sleeper<'m>,
    pub(super) space: Ringer<'m>,
}

/// What a consumer expects of its producer, so that it is faster if that is true.
pub(super) struct Guess {
    /// The header that the next record probably has.
    pub(super) expected: Expected,
    pub(super) pace: Pace,
}

impl Guess {
    #[inline(always)]
    pub(super) fn new(position: u32) -> Self {
        Self {
            expected: Expected::NONE,
            pace: Pace::new(position),
        }
    }
}

/// The header of the last record that was for us. The next one is expected to have the same,
/// so that its address and length are known before its header is loaded.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    /// The header.
    pub(super) words: [u32; 2],
    /// Bytes of the record.
    pub(super) len: u32,
    /// Bytes to the next record; more than any ring has if nothing is expected.
    pub(super) stride: u32,
}

impl Expected {
    pub(super) const NONE: Self = Self {
        words: [0; 2],
        len: 0,
        stride: u32::MAX,
    };
}

impl Consumer<'_> {
    /// Returns [`PopError::Evicted`] if this end is no longer ours (R7).
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn check_owned(&mut self) -> Result<(), PopError> {
        if self.claim.is_ours() {
            return Ok(());
        }
        self.claim.mark_lost();
        Err(*self.terminal.get_or_insert(PopError::Evicted))
    }

    /// Sets the header that the next record probably has.
    #[inline(always)]
    pub(super) fn expect(&mut self, expected: Expected) {
        if let Some(guess) = self.guess.first_mut() {
            guess.expected = expected;
        }
    }

    /// Forgets the expected header, so that the next record is decoded.
    pub(super) fn clear_expected(&mut self) {
        self.expect(Expected::NONE);
    }

    /// Records permanently that the ring is corrupt, or that this end was taken over: the words
    /// of a ring that has another consumer need not fit our position.
    #[cold]
    #[inline(never)]
    pub(super) fn fail(&mut self, corrupt: Corrupt) -> PopError {
        self.clear_expected();
        let error = match self.check_owned() {
            Ok(()) => PopError::Corrupt(corrupt),
            Err(evicted) => evicted,
        };
        *self.terminal.get_or_insert(error)
    }

    /// Moves our position to `end`. Stores `head` only after each eighth of the ring, because
    /// the producer loads it, and then the next store waits for the line.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn advance(&mut self, end: u32) -> Result<(), PopError> {
        self.check_owned()?;
        self.head = end;
        self.peeked = end;
        // relaxed: only a successor loads it, after this end has stopped. `discard` has a
        // fence of its own for its count.
        self.ring.position().store(end, Relaxed);
        if SMALL || end.wrapping_sub(self.stored_head) >= self.ring.data.len() / 8 {
            self.store_head();
        }
        Ok(())
    }

    /// Stores `head` if it lags.
    #[inline(always)]
    pub(super) fn sync_head(&mut self) -> Result<(), PopError> {
        // With the feature `small`, `head` lags only when the end is claimed.
        if !SMALL && self.stored_head != self.head {
            self.check_owned()?;
            self.store_head();
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn store_head(&mut self) {
        self.stored_head = self.head;
        // Pairs with the load in `Producer::load_head`: we have finished reading the bytes
        // that the producer may now overwrite.
        // loom: loom_ring
        self.ring.head().store(self.head, Release);
    }
}

impl Drop for Consumer<'_> {
    fn drop(&mut self) {
        // An evicted end stores nothing.
        let _ = self.sync_head();
        self.claim.release();
    }
}
