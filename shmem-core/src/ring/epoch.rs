//! Whose record it is, and for whom: the lives of a ring's two ends.
//!
//! An end's *epoch* counts the lives that held it. A producer stamps each
//! record with both epochs as it knows them, so that a consumer can tell what
//! an earlier producer left from what the present one sends, and what was meant
//! for an earlier consumer from what is meant for it.
//!
//! - **E1** An end's epoch is stored by who claims it, before its claim and
//!   before its first record; a life that claims its end again keeps its epoch.
//! - **E2** An epoch is 1 to 65535 and starts again at 1: a record would have to lie
//!   unread for as many lives to be taken for a present one. 0 is nobody yet.
//! - **E3** A stamp with a consumer's epoch of 0 is for whoever comes first.
//!
//! Claims need no read-modify-write because who claims which end is agreed
//! beforehand; a claim shows the mistake, it does not arbitrate a race.

use super::ClaimError;
use crate::error::{ControlWord, Corrupt};
use crate::life::Life;
use crate::mem::Word;
use crate::primitive::Ordering::{Acquire, Relaxed, Release};

/// Set in a claim that was given back.
const RELEASED: u32 = Life::FLAG;

/// The stamp of a record.
#[inline(always)]
pub(super) fn stamp(producer: u32, consumer: u32) -> u32 {
    producer | consumer << 16
}

/// The epoch of the producer in a stamp.
pub(super) fn of_producer(stamp: u32) -> u32 {
    stamp & 0xffff
}

/// The epoch of the consumer in a stamp.
pub(super) fn of_consumer(stamp: u32) -> u32 {
    stamp >> 16
}

/// Who holds the end of `claim` now.
pub(super) fn holder(claim: Word<'_>) -> Option<Life> {
    let value = claim.load(Relaxed);
    (value & RELEASED == 0).then(|| Life::from_word(value))?
}

/// Whether `life` may claim the end.
pub(super) fn check(claim: Word<'_>, life: Life) -> Result<(), ClaimError> {
    // Pairs with the store in `give_back`: who had the end has let go.
    let value = claim.load(Acquire); // loom: loom_ring
    if value == 0 || value & RELEASED != 0 {
        return Ok(());
    }
    let by = Life::from_word(value).ok_or(ClaimError::Corrupt(Corrupt {
        word: ControlWord::Claim,
        value,
    }))?;
    // Another life of our own partition is over since ours began.
    if by.partition() == life.partition() && by != life {
        return Ok(());
    }
    Err(ClaimError::Claimed { by })
}

/// Claims the end for `life` and returns its epoch.
pub(super) fn claim(claim: Word<'_>, epoch: Word<'_>, life: Life) -> u32 {
    let last = epoch.load(Relaxed) & 0xffff;
    let again = claim.load(Relaxed) & !RELEASED == life.word() && last != 0;
    let ours = if again { last } else { last % 0xffff + 1 };
    // Pairs with the load in `Consumer::resolve`: whatever was published before
    // this life is seen before this life is.
    epoch.store(ours, Release); // loom: loom_ring
    claim.store(life.word(), Relaxed);
    ours
}

/// Gives an end back, unless another life took it over meanwhile.
pub(super) fn give_back(claim: Word<'_>, life: Life) {
    if claim.load(Relaxed) == life.word() {
        // Pairs with the load in `check`: we have let go.
        claim.store(life.word() | RELEASED, Release); // loom: loom_ring
    }
}
