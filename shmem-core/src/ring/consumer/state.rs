//! What a consumer knows, and the stores that give bytes back.

use super::super::epoch::Claim;
use super::super::error::PopError;
use super::super::memory::Ring;
use crate::doorbell::{Ringer, Sleeper};
use crate::error::Corrupt;
use crate::mem::Word;
use crate::primitive::Ordering::Release;

/// What becomes of records that were pushed before a restart of either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// They are kept: results, which are true whoever reads them.
    Keep,
    /// They are discarded, and counted: commands, which no new life is to obey.
    Discard,
}

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
    /// Our position: the first record not released. The copy in memory is write-only.
    pub(super) head: u32,
    /// Where the record that was peeked last ends; `head` if none was.
    pub(super) peeked: u32,
    /// How many lives had our end, with ours.
    pub(super) epoch: u32,
    /// How many had the producer's, as far as its records have told us.
    pub(super) peer: u32,
    /// Two words that every pop touches, their bounds checked once.
    pub(super) head_word: Word<'m>,
    pub(super) peer_epoch: Word<'m>,
    pub(super) unread: Unread,
    pub(super) discarded: u32,
    pub(super) claim: Claim<'m>,
    /// What is said for good.
    pub(super) broken: Option<PopError>,
    pub(super) records: Sleeper<'m>,
    pub(super) space: Ringer<'m>,
}

impl Consumer<'_> {
    /// Whether this end is ours (R7).
    #[inline(always)]
    pub(super) fn own(&mut self) -> Result<(), PopError> {
        if self.claim.is_ours() {
            return Ok(());
        }
        Err(*self.broken.get_or_insert(PopError::Evicted))
    }

    /// Keeps that the ring is corrupt, unless it is another's: what that one does is not
    /// to be held against our position.
    #[cold]
    #[inline(never)]
    pub(super) fn fail(&mut self, corrupt: Corrupt) -> PopError {
        let error = match self.own() {
            Ok(()) => PopError::Corrupt(corrupt),
            Err(evicted) => evicted,
        };
        *self.broken.get_or_insert(error)
    }

    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn advance(&mut self, end: u32) -> Result<(), PopError> {
        self.own()?;
        self.head = end;
        self.peeked = end;
        // Pairs with the load in `Producer::refresh`: we have finished reading
        // what the producer may now overwrite.
        self.head_word.store(end, Release); // loom: loom_ring
        Ok(())
    }
}

impl Drop for Consumer<'_> {
    fn drop(&mut self) {
        self.claim.give_back();
    }
}
