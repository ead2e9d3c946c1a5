//! The *claim* of an end of a ring: the word that names the incarnation which has the end.
//!
//! A claim needs no read-modify-write, because the platform assigns each end to one partition.
//! If two incarnations claim an end at once, the later store wins, and the next call of the
//! other returns `Evicted`. Until then both may store to the ring.
//!
//! - **C1** A claimant stores its claim, then executes a full fence, and only then searches for
//!   the position at which it resumes. It finds everything that the holder before it published
//!   or released, except a store that the holder made after its last check of the claim.

use core::fmt;

use crate::error::{ControlWord, Corrupt};
use crate::incarnation::Incarnation;
use crate::mem::Word;
use crate::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

/// Set in a claim that was released.
const RELEASED: u32 = Incarnation::FLAG;

/// A claim that no incarnation has: its partition is 0.
const NO_OWNER: u32 = 1 << 8;

/// How often a claimant stores its claim at most: again after each late release that has replaced
/// it. Then the end is reported as claimed by another incarnation.
const ATTEMPTS: u32 = 4;

/// How a consumer treats records that were pushed before a restart of either end.
// A word, because a byte among words makes processors without unaligned access copy by bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum OnRestart {
    /// Keep them: for results, which are valid for every consumer.
    Keep,
    /// Discard and count them: for commands, which a new incarnation must not execute.
    Discard,
}

/// Why an end of a ring could not be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimError {
    /// Another incarnation has the end, or this one has it already.
    Claimed {
        /// The incarnation that has the end.
        holder: Incarnation,
    },
    /// The words in memory are not those of a ring.
    Corrupt(Corrupt),
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claimed { holder } => write!(
                f,
                "{holder} has this end of the ring: take it over only if that incarnation is gone"
            ),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

#[cfg(feature = "std")]
impl std::error::Error for ClaimError {}

/// An end of a ring that can be claimed.
#[derive(Clone, Copy)]
pub(crate) struct End<'m> {
    word: Word<'m>,
}

/// An end that was claimed.
pub(crate) struct Acquired<'m, S> {
    pub(crate) claim: Claim<'m>,
    /// True if the same incarnation was the last one to release the end.
    pub(crate) reclaimed: bool,
    /// The result of `find_start` after the claim.
    pub(crate) start: S,
}

impl<'m> End<'m> {
    /// Returns the end whose claim is `word`.
    pub(crate) fn new(word: Word<'m>) -> Self {
        Self { word }
    }

    /// Returns the claim, for inspection.
    pub(crate) fn load(self) -> u32 {
        // relaxed: a hint; it may have changed since.
        self.word.load(Relaxed)
    }

    /// Returns the incarnation that has the end now.
    pub(crate) fn holder(self) -> Option<Incarnation> {
        let value = self.load();
        (value & RELEASED == 0).then(|| Incarnation::from_word(value))?
    }

    /// Returns `Ok` if `incarnation` may claim the end.
    pub(crate) fn check(self, incarnation: Incarnation) -> Result<(), ClaimError> {
        // Acquire: pairs with the store in `Claim::release`; the holder before has released
        // the end, and the first `find_start` in `acquire` finds a whole ring.
        // loom: none (an old `tail` lags by no more than the walk corrects, or by a lap)
        let value = self.word.load(Acquire);
        if value == 0 {
            return Ok(());
        }
        match Incarnation::from_word(value) {
            Some(holder) if is_free(value, holder, incarnation) => Ok(()),
            _ => Err(refused(value)),
        }
    }

    /// Claims the end for `incarnation`. Calls `find_start`, which returns where to resume, once
    /// before it stores the claim and once after; the second result is used.
    pub(crate) fn acquire<S>(
        self,
        incarnation: Incarnation,
        find_start: impl Fn() -> Result<S, Corrupt>,
    ) -> Result<Acquired<'m, S>, ClaimError> {
        let claim = Claim {
            word: self.word,
            value: incarnation.word(),
        };
        let mut reclaimed = false;
        let mut attempt = 0;
        loop {
            let start = find_start().map_err(|corrupt| {
                // Before the first attempt, the claim of a corrupt ring stays unchanged.
                if attempt != 0 {
                    claim.release();
                }
                ClaimError::Corrupt(corrupt)
            })?;
            // relaxed: after a claim the fence orders it; the holder of the claim needs no other ordering.
            // Before it, this incarnation stored the value, and only its partition claims this end.
            let found = self.word.load(Relaxed);
            if attempt == 0 {
                reclaimed = found == incarnation.word() | RELEASED;
            } else if found == claim.value {
                return Ok(Acquired {
                    claim,
                    reclaimed,
                    start,
                });
            } else if found & RELEASED == 0 || attempt == ATTEMPTS {
                // A late release, by a holder that did not see our claim, is not a claim.
                return Err(refused(found));
            }
            attempt += 1;
            // relaxed: the fence orders it before the next `find_start` (C1).
            claim.word.store(claim.value, Relaxed);
            // C1: orders the store of the claim before the loads of `find_start`. The holder
            // before orders its stores before its check of the claim in the same way.
            // loom: loom_evicted
            fence(SeqCst);
        }
    }
}

/// Returns true if `incarnation` may claim an end whose claim is `value`, which names `holder`.
fn is_free(value: u32, holder: Incarnation, incarnation: Incarnation) -> bool {
    // An earlier incarnation of our partition is gone since ours began. A later one has evicted us,
    // even if it has released the end.
    let is_other = holder.partition() != incarnation.partition();
    let is_released = value & RELEASED != 0;
    incarnation.follows(holder) || (is_released && (is_other || holder == incarnation))
}

/// Returns the error for an end whose claim is `value`.
#[cfg_attr(feature = "small", inline(never))]
fn refused(value: u32) -> ClaimError {
    match Incarnation::from_word(value) {
        Some(holder) => ClaimError::Claimed { holder },
        None => ClaimError::Corrupt(Corrupt {
            word: ControlWord::Claim,
            value,
        }),
    }
}

/// The claim of an end, on the holder's side.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'m> {
    word: Word<'m>,
    value: u32,
}

impl Claim<'_> {
    /// Returns true unless another incarnation took over the end. The word lies in a line that
    /// the holder writes anyway.
    #[inline(always)]
    pub(crate) fn is_ours(&self) -> bool {
        // relaxed: the documentation of the rings states which stores it orders.
        self.word.load(Relaxed) == self.value
    }

    /// Records permanently that the end was taken over. It stays lost for this handle even if
    /// the same incarnation claims it again, because that claim belongs to another handle.
    pub(crate) fn mark_lost(&mut self) {
        self.value = NO_OWNER;
    }

    /// Releases the end, unless another incarnation took it over meanwhile.
    pub(crate) fn release(&self) {
        if self.is_ours() {
            // Pairs with the load in `End::check`: we no longer use the end.
            // loom: loom_ring
            self.word.store(self.value | RELEASED, Release);
        }
    }
}
