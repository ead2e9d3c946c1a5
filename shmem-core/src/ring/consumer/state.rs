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
    pub(super) told: u32,
    /// What the next record is expected to be.
    pub(super) like: Like,
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
    pub(super) unread: OnRestart,
    pub(super) discarded: u32,
    pub(super) claim: Claim<'m>,
    /// What is said for good.
    pub(super) broken: Option<PopError>,
    pub(super) records: Sleeper<'m>,
    pub(super) space: Ringer<'m>,
}

/// A record that was found and needed no judgement. The next one is expected to be like it,
/// so that its address and length are known before its header is loaded.
#[derive(Clone, Copy)]
pub(super) struct Like {
    /// Its header.
    pub(super) words: [u32; 2],
    /// Its length, bytes.
    pub(super) len: usize,
    /// Bytes to the next one; more than any ring has if nothing is expected.
    pub(super) stride: u32,
}

impl Like {
    pub(super) const NOTHING: Self = Self {
        words: [0; 2],
        len: 0,
        stride: u32::MAX,
    };
}

impl Consumer<'_> {
    /// Whether this end is ours (R7).
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn own(&mut self) -> Result<(), PopError> {
        if self.claim.is_ours() {
            return Ok(());
        }
        self.claim.lose();
        Err(*self.broken.get_or_insert(PopError::Evicted))
    }

    /// Looks at the next record as if it were the first one.
    pub(super) fn expect_nothing(&mut self) {
        if !SMALL {
            self.like = Like::NOTHING;
        }
    }

    /// Keeps that the ring is corrupt, unless it is another's: what that one does is not
    /// to be held against our position.
    #[cold]
    #[inline(never)]
    pub(super) fn fail(&mut self, corrupt: Corrupt) -> PopError {
        self.expect_nothing();
        let error = match self.own() {
            Ok(()) => PopError::Corrupt(corrupt),
            Err(evicted) => evicted,
        };
        *self.broken.get_or_insert(error)
    }

    /// Moves our position to `end`. `head` is stored after an eighth of the ring: a producer
    /// that looks for space takes its line away, and each store has to wait for that.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn advance(&mut self, end: u32) -> Result<(), PopError> {
        self.own()?;
        self.head = end;
        self.peeked = end;
        // relaxed: only a successor loads it, after this end has stopped. What `discard` counts
        // before it has a fence of its own.
        self.position_word.store(end, Relaxed);
        if SMALL || end.wrapping_sub(self.told) >= self.ring.data.len() / 8 {
            self.tell();
        }
        Ok(())
    }

    /// Gives back what lies before our position, if that has not been done.
    #[inline(always)]
    pub(super) fn catch_up(&mut self) -> Result<(), PopError> {
        // Where it is small `head` lags at the claim alone.
        if !SMALL && self.told != self.head {
            self.own()?;
            self.tell();
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn tell(&mut self) {
        self.told = self.head;
        // Pairs with the load in `Producer::refresh`: we have finished reading
        // what the producer may now overwrite.
        self.head_word.store(self.head, Release); // loom: loom_ring
    }
}

impl Drop for Consumer<'_> {
    fn drop(&mut self) {
        // An evicted one has nothing to give back.
        let _ = self.catch_up();
        self.claim.give_back();
    }
}
