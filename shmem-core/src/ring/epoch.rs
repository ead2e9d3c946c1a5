//! Whose an end of a ring is, and between whom its records are.
//!
//! An end's *claim* names the incarnation that has the end. Its *epoch* counts those
//! that had it. A producer stamps each record with both epochs as it knows them, so
//! that a consumer can tell what an earlier producer left from what the present one
//! sends, and what was meant for an earlier consumer from what is meant for it.
//!
//! - **E1** An end's epoch is stored by who claims it, after its claim and before its
//!   first record. An incarnation that claims an end again that it gave back itself, with
//!   nobody in between, keeps its epoch.
//! - **E2** An epoch is 1 to 65535 and starts again at 1: a record would have to lie
//!   unread for as many claims to be taken for a present one. 0 is nobody yet, and no
//!   word that was something else becomes 0 again. Everything else is corrupt.
//! - **E3** A stamp with a consumer's epoch of 0 is for whoever comes first.
//! - **E4** A claim is stored, then a full fence, and only then is looked for where to go
//!   on. What the holder before published, released or gave away is found, unless it was
//!   published after that holder looked at its claim for the last time (R7).

use super::error::ClaimError;
use super::memory::Ring;
use super::resume::Start;
use crate::claim::{self, Acquired, Claim};
use crate::error::{ControlWord, Corrupt};
use crate::incarnation::Incarnation;
use crate::mem::Word;
use crate::primitive::Ordering::{Relaxed, Release};

/// The largest epoch.
const LAST: u32 = 0xffff;

/// The stamp of a record.
#[inline(always)]
pub(super) fn stamp(producer: u32, consumer: u32) -> u32 {
    producer | consumer << 16
}

/// The epoch of the producer in a stamp.
pub(super) fn of_producer(stamp: u32) -> u32 {
    stamp & LAST
}

/// The epoch of the consumer in a stamp.
pub(super) fn of_consumer(stamp: u32) -> u32 {
    stamp >> 16
}

/// Holds the epoch in `word` against E2, where the one before was `known`.
pub(super) fn check(word: ControlWord, value: u32, known: u32) -> Result<u32, Corrupt> {
    if value > LAST || (value == 0 && known != 0) {
        return Err(Corrupt { word, value });
    }
    Ok(value)
}

/// The words of an end.
#[derive(Clone, Copy)]
pub(super) struct End<'m> {
    pub(super) claim: claim::End<'m>,
    pub(super) epoch: Word<'m>,
    /// What errors call the epoch.
    pub(super) name: ControlWord,
}

impl<'m> End<'m> {
    /// Claims the end of `ring` for `incarnation`; `resume` finds where to go on. Returns that, the
    /// claim and the epoch.
    pub(super) fn acquire(
        self,
        incarnation: Incarnation,
        ring: &Ring<'_>,
        resume: fn(&Ring<'_>) -> Result<(Start, u32), Corrupt>,
    ) -> Result<((Start, u32), Claim<'m>, u32), ClaimError> {
        let find_start = || {
            // relaxed: the second look, after the fence, is the one that counts.
            check(self.name, self.epoch.load(Relaxed), 0)?;
            let start = resume(ring)?;
            // Looking took its time, and the epoch is not to go back under a successor: this
            // is as late as can be.
            // relaxed: the fence orders it.
            Ok((start, self.epoch.load(Relaxed) & LAST))
        };
        let Acquired {
            claim,
            reclaimed,
            start: (position, last),
        } = self.claim.acquire(incarnation, find_start)?;
        let epoch = match reclaimed && last != 0 {
            true => last,
            false => last % LAST + 1, // E2
        };
        // Pairs with the load in `Consumer::next_slow`: whatever was found of an earlier
        // producer, also after the fence, is seen before this epoch is.
        // loom: loom_evicted
        self.epoch.store(epoch, Release);
        Ok((position, claim, epoch))
    }
}
