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
//!
//! Claims need no read-modify-write because who claims which end is agreed beforehand.
//! Of two that claim at once the later store wins, and the other is told at its next call;
//! until then both may have stored to the ring.

use super::error::ClaimError;
use super::memory::Ring;
use super::resume::Start;
use crate::error::{ControlWord, Corrupt};
use crate::life::Life;
use crate::mem::Word;
use crate::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

/// Set in a claim that was given back.
const RELEASED: u32 = Life::FLAG;

/// A claim that nobody has: of partition 0.
const LOST: u32 = 1 << 8;

/// Claims in place of late ones that were given back, before another is said to have the end.
const ATTEMPTS: u32 = 4;

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
    pub(super) claim: Word<'m>,
    pub(super) epoch: Word<'m>,
    /// What errors call the epoch.
    pub(super) name: ControlWord,
}

impl<'m> End<'m> {
    /// Who holds the end now.
    pub(super) fn holder(self) -> Option<Life> {
        // relaxed: an indication; it may have changed since.
        let value = self.claim.load(Relaxed);
        (value & RELEASED == 0).then(|| Life::from_word(value))?
    }

    /// Whether `life` may claim the end.
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn check(self, life: Life) -> Result<(), ClaimError> {
        // Acquire: pairs with the store in `Claim::give_back`; who had the end has let go,
        // and the first look in `take` finds a whole ring.
        // loom: none (an old `tail` is behind by no more than the walk puts right, or a lap)
        let value = self.claim.load(Acquire);
        if value == 0 {
            return Ok(());
        }
        let by = claimant(value)?;
        // A later incarnation of our own partition has evicted us, also where it has let go.
        // An earlier one is gone since ours began.
        let is_free = value & RELEASED != 0 || life.follows(by);
        match is_free && !by.follows(life) {
            true => Ok(()),
            false => Err(ClaimError::Claimed { by }),
        }
    }

    /// Claims the end of `ring` for `life`; `resume` finds where to go on. Returns that, the claim
    /// and the epoch.
    pub(super) fn take(
        self,
        life: Life,
        ring: &Ring<'_>,
        resume: fn(&Ring<'_>) -> Result<(Start, u32), Corrupt>,
    ) -> Result<((Start, u32), Claim<'m>, u32), ClaimError> {
        let look = || {
            // relaxed: the second look, after the fence, is the one that counts.
            check(self.name, self.epoch.load(Relaxed), 0)?;
            resume(ring)
        };
        // A broken ring's claim stays as it was.
        look().map_err(ClaimError::Corrupt)?;
        // relaxed: this life stored that value, and who claims an end is agreed beforehand.
        let again = self.claim.load(Relaxed) == life.word() | RELEASED;
        let claim = Claim {
            word: self.claim,
            value: life.word(),
        };
        let mut attempt = 1;
        let (position, last) = loop {
            // relaxed: the fence orders it before the second look (E4).
            claim.word.store(claim.value, Relaxed);
            // E4: the claim stored before it and what is looked at after it must not pass each
            // other, as what the holder before stored and its look at the claim must not.
            fence(SeqCst); // loom: loom_evicted
            let position = look().map_err(|corrupt| {
                claim.give_back();
                ClaimError::Corrupt(corrupt)
            })?;
            // Looking took its time, and the epoch is not to go back under a successor: this
            // is as late as can be.
            // relaxed: the fence orders it.
            let last = self.epoch.load(Relaxed) & LAST;
            // relaxed: as the epoch; R7 says what is not ordered.
            let found = self.claim.load(Relaxed);
            if found == claim.value {
                break (position, last);
            }
            // One that gave the end back late, and did not see our claim, has not claimed it.
            if found & RELEASED == 0 || attempt == ATTEMPTS {
                return Err(claimant(found).map_or_else(|e| e, |by| ClaimError::Claimed { by }));
            }
            attempt += 1;
        };
        let epoch = match again && last != 0 {
            true => last,
            false => last % LAST + 1, // E2
        };
        // Pairs with the load in `Consumer::resolve`: whatever was found of an earlier
        // producer, also after the fence, is seen before this epoch is.
        self.epoch.store(epoch, Release); // loom: loom_evicted
        Ok((position, claim, epoch))
    }
}

/// Whose claim the word is that was loaded from one.
fn claimant(value: u32) -> Result<Life, ClaimError> {
    Life::from_word(value).ok_or(ClaimError::Corrupt(Corrupt {
        word: ControlWord::Claim,
        value,
    }))
}

/// An end's claim, as its holder looks at it.
#[derive(Clone, Copy)]
pub(super) struct Claim<'m> {
    word: Word<'m>,
    value: u32,
}

impl Claim<'_> {
    /// Whether nobody took the end over. The word lies in a line that the holder
    /// writes anyway.
    #[inline(always)]
    pub(super) fn is_ours(&self) -> bool {
        // relaxed: see R7 for what is ordered and what is not.
        self.word.load(Relaxed) == self.value
    }

    /// Keeps for good that somebody took the end over, also where that one gives it back and
    /// this incarnation claims it again: that is another handle's.
    pub(super) fn lose(&mut self) {
        self.value = LOST;
    }

    /// Gives the end back, unless somebody took it over meanwhile.
    pub(super) fn give_back(&self) {
        if self.is_ours() {
            // Pairs with the load in `End::check`: we have let go.
            self.word.store(self.value | RELEASED, Release); // loom: loom_ring
        }
    }
}
