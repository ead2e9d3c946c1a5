//! What a consumer knows, and the stores that give bytes back.

use super::super::error::PopError;
use super::super::memory::{Ring, SMALL};
use crate::claim::{Claim, OnRestart};
use crate::doorbell::{Ringer, Sleeper};
use crate::error::Corrupt;
use crate::mem::Word;
use crate::pace::Pace;
use crate::primitive::Ordering::{Relaxed, Release};

/// The most records that one call discards. A call that has discarded so many says
/// [`PopError::Empty`] although there may be more; [`Consumer::is_empty`] then says
/// `false`, and [`Consumer::wait`] does not sleep.
pub const DISCARDS: u32 = 64;

/// The end that pops. Dropping it gives the claim back.
///
/// Every call says [`PopError::Evicted`] once another has taken this end over, whether
/// this one was gone or was only thought to be (R7).
///
/// Aligned so that the two ends of a ring in one program do not share a line.
#[repr(align(128))]
pub struct Consumer<'m> {
    pub(super) ring: Ring<'m>,
    /// Our position: the first record not released. The copy in memory, `position`, is
    /// write-only.
    pub(super) head: u32,
    /// `head` in memory, which lags: what we have given back.
    pub(super) stored_head: u32,
    /// What the next record is expected to be.
    pub(super) expected: Expected,
    pub(super) pace: Pace,
    /// Where the record that was peeked last ends; `head` if none was.
    pub(super) peeked: u32,
    /// How many incarnations had our end, with ours.
    pub(super) epoch: u32,
    /// How many had the producer's, as far as its records have told us.
    pub(super) peer: u32,
    /// Words that every pop touches, their bounds checked once.
    pub(super) position_word: Word<'m>,
    pub(super) head_word: Word<'m>,
    pub(super) peer_epoch: Word<'m>,
    pub(super) on_restart: OnRestart,
    pub(super) discarded: u32,
    pub(super) claim: Claim<'m>,
    /// What is said for good.
    pub(super) terminal: Option<PopError>,
    pub(super) records: Sleeper<'m>,
    pub(super) space: Ringer<'m>,
}

/// A record that was found and needed no judgement. The next one is expected to be like it,
/// so that its address and length are known before its header is loaded.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    /// Its header.
    pub(super) words: [u32; 2],
    /// Its length, bytes.
    pub(super) len: usize,
    /// Bytes to the next one; more than any ring has if nothing is expected.
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
    /// Whether this end is ours (R7).
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn check_owned(&mut self) -> Result<(), PopError> {
        if self.claim.is_ours() {
            return Ok(());
        }
        self.claim.mark_lost();
        Err(*self.terminal.get_or_insert(PopError::Evicted))
    }

    /// Looks at the next record as if it were the first one.
    pub(super) fn clear_expected(&mut self) {
        if !SMALL {
            self.expected = Expected::NONE;
        }
    }

    /// Keeps that the ring is corrupt, unless it is another's: what that one does is not
    /// to be held against our position.
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

    /// Moves our position to `end`. `head` is stored after an eighth of the ring: a producer
    /// that looks for space takes its line away, and each store has to wait for that.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn advance(&mut self, end: u32) -> Result<(), PopError> {
        self.check_owned()?;
        self.head = end;
        self.peeked = end;
        // relaxed: only a successor loads it, after this end has stopped. What `discard` counts
        // before it has a fence of its own.
        self.position_word.store(end, Relaxed);
        if SMALL || end.wrapping_sub(self.stored_head) >= self.ring.data.len() / 8 {
            self.store_head();
        }
        Ok(())
    }

    /// Gives back what lies before our position, if that has not been done.
    #[inline(always)]
    pub(super) fn sync_head(&mut self) -> Result<(), PopError> {
        // Where it is small `head` lags at the claim alone.
        if !SMALL && self.stored_head != self.head {
            self.check_owned()?;
            self.store_head();
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn store_head(&mut self) {
        self.stored_head = self.head;
        // Pairs with the load in `Producer::load_head`: we have finished reading
        // what the producer may now overwrite.
        // loom: loom_ring
        self.head_word.store(self.head, Release);
    }
}

impl Drop for Consumer<'_> {
    fn drop(&mut self) {
        // An evicted one has nothing to give back.
        let _ = self.sync_head();
        self.claim.release();
    }
}
