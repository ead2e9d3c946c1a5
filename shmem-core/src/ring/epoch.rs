//! The epochs of a ring's ends, and the stamp of each record.
//!
//! An end's *claim* names the incarnation that has the end. Its *epoch* counts the claims.
//! A producer stamps each record with both epochs as it knows them. So a consumer
//! distinguishes records of an earlier producer from those of the present one, and
//! records for an earlier consumer from those for itself.
//!
//! - **E1** The incarnation that claims an end stores the end's epoch after its claim and before
//!   its first record. If an incarnation claims again an end that it was the last to release,
//!   it keeps the epoch.
//! - **E2** An epoch is 1 to 65535; 1 follows 65535. A record would have to stay unread for
//!   65535 claims to be treated as a present one. 0 means that the end was never claimed; an
//!   epoch never becomes 0 again. Every other value is corrupt.
//! - **E3** A stamp with a consumer's epoch of 0 is for the first consumer.
//! - **E4** A claimant stores its claim, then executes a full fence, and only then searches for
//!   the position at which it resumes. It finds everything that the holder before it published
//!   or released, except a store that the holder made after its last check of the claim (R7).

use super::error::ClaimError;
use super::resume::Start;
use crate::claim::{self, Claim};
use crate::error::{ControlWord, Corrupt};
use crate::incarnation::Incarnation;
use crate::mem::Word;
use crate::primitive::Ordering::{Relaxed, Release};

/// The largest epoch.
const LAST: u32 = 0xffff;

/// Returns the stamp of a record.
#[inline(always)]
pub(super) fn stamp(producer: u32, consumer: u32) -> u32 {
    producer | consumer << 16
}

/// Returns the producer's epoch in a stamp.
pub(super) fn of_producer(stamp: u32) -> u32 {
    stamp & LAST
}

/// Returns the consumer's epoch in a stamp.
pub(super) fn of_consumer(stamp: u32) -> u32 {
    stamp >> 16
}

/// Checks the epoch `value` of `word` against E2; `known` is the epoch known before.
pub(super) fn check(word: ControlWord, value: u32, known: u32) -> Result<u32, Corrupt> {
    match is_valid(value, known) {
        true => Ok(value),
        false => Err(Corrupt { word, value }),
    }
}

/// Returns true if `value` is an epoch (E2); `known` is the epoch known before.
pub(super) fn is_valid(value: u32, known: u32) -> bool {
    value <= LAST && (value != 0 || known == 0)
}

/// An end of a ring.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Producer,
    Consumer,
}

/// The words of an end.
#[derive(Clone, Copy)]
pub(super) struct End<'m> {
    pub(super) claim: claim::End<'m>,
    pub(super) epoch: Word<'m>,
    /// The epoch's name in errors.
    pub(super) name: ControlWord,
}

/// An end that was claimed.
pub(super) struct Acquired<'m> {
    pub(super) start: Start,
    /// The epoch of the other end.
    pub(super) peer: u32,
    pub(super) claim: Claim<'m>,
    /// The epoch of this end.
    pub(super) epoch: u32,
}

impl<'m> End<'m> {
    /// Claims the end for `incarnation`. `resume` finds where it resumes, and the epoch of the other
    /// end.
    #[inline]
    pub(super) fn acquire(
        self,
        incarnation: Incarnation,
        resume: impl Fn() -> Result<(Start, u32), Corrupt>,
    ) -> Result<Acquired<'m>, ClaimError> {
        let find_start = || {
            // relaxed: only the call after the fence is used.
            check(self.name, self.epoch.load(Relaxed), 0)?;
            let start = resume()?;
            // Load it again, as late as possible, so that a slow claimant does not set the epoch
            // of a successor back.
            // relaxed: the fence orders it.
            Ok((start, self.epoch.load(Relaxed) & LAST))
        };
        let acquired = self.claim.acquire(incarnation, find_start)?;
        let ((start, peer), last) = acquired.start;
        let epoch = match acquired.reclaimed && last != 0 {
            true => last,
            false if last == LAST => 1, // E2
            false => last + 1,
        };
        // Pairs with the load in `Consumer::next_slow`: a consumer that sees this epoch also sees
        // every record of an earlier producer that we found, also after the fence.
        // loom: loom_evicted
        self.epoch.store(epoch, Release);
        Ok(Acquired {
            start,
            peer,
            claim: acquired.claim,
            epoch,
        })
    }
}
