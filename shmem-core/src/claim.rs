//! Who has an end of a ring: its *claim*, a word that names an incarnation.
//!
//! Claims need no read-modify-write because who claims which end is agreed beforehand.
//! Of two that claim at once the later store wins, and the other is told at its next call;
//! until then both may have stored to the ring.
//!
//! - **C1** A claim is stored, then a full fence, and only then is looked for where to go
//!   on. What the holder before published, released or gave away is found, unless it was
//!   published after that holder looked at its claim for the last time.

use core::fmt;

use crate::error::{ControlWord, Corrupt};
use crate::incarnation::Incarnation;
use crate::mem::Word;
use crate::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

/// Set in a claim that was given back.
const RELEASED: u32 = Incarnation::FLAG;

/// A claim that nobody has: of partition 0.
const NO_OWNER: u32 = 1 << 8;

/// Claims in place of late ones that were given back, before another is said to have the end.
const ATTEMPTS: u32 = 4;

/// What becomes of records that were pushed before a restart of either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRestart {
    /// They are kept: for results, which mean the same to each reader.
    Keep,
    /// They are discarded, and counted: commands, which no new incarnation is to obey.
    Discard,
}

/// Why an end of a ring could not be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimError {
    /// Another incarnation has it, or this one has it already.
    Claimed {
        /// That incarnation.
        by: Incarnation,
    },
    /// What an earlier incarnation left is not a ring.
    Corrupt(Corrupt),
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claimed { by } => write!(
                f,
                "{by} has this end of the ring: take it over only if that incarnation is over"
            ),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

#[cfg(feature = "std")]
impl std::error::Error for ClaimError {}

/// An end of a ring, to be claimed.
#[derive(Clone, Copy)]
pub(crate) struct End<'m> {
    word: Word<'m>,
}

/// An end that was claimed.
pub(crate) struct Acquired<'m, S> {
    pub(crate) claim: Claim<'m>,
    /// Whether the same incarnation had given the end back, with nobody in between.
    pub(crate) reclaimed: bool,
    /// What was found after the claim.
    pub(crate) start: S,
}

impl<'m> End<'m> {
    /// The end whose claim is `word`.
    pub(crate) fn new(word: Word<'m>) -> Self {
        Self { word }
    }

    /// The claim, as inspection shows it.
    pub(crate) fn load(self) -> u32 {
        // relaxed: an indication; it may have changed since.
        self.word.load(Relaxed)
    }

    /// Who holds the end now.
    pub(crate) fn holder(self) -> Option<Incarnation> {
        let value = self.load();
        (value & RELEASED == 0).then(|| Incarnation::from_word(value))?
    }

    /// Whether `incarnation` may claim the end.
    #[cfg_attr(feature = "small", inline(never))]
    pub(crate) fn check(self, incarnation: Incarnation) -> Result<(), ClaimError> {
        // Acquire: pairs with the store in `Claim::release`; who had the end has let go,
        // and the first look in `take` finds a whole ring.
        // loom: none (an old `tail` is behind by no more than the walk puts right, or a lap)
        let value = self.word.load(Acquire);
        if value == 0 {
            return Ok(());
        }
        let by = claimant(value)?;
        // A later incarnation of our own partition has evicted us, also where it has let go.
        // An earlier one is gone since ours began.
        let is_free = value & RELEASED != 0 || incarnation.follows(by);
        match is_free && !by.follows(incarnation) {
            true => Ok(()),
            false => Err(ClaimError::Claimed { by }),
        }
    }

    /// Claims the end for `incarnation`. `look` finds where to go on: once before the claim is
    /// stored, and once after that, which counts.
    pub(crate) fn acquire<S>(
        self,
        incarnation: Incarnation,
        find_start: impl Fn() -> Result<S, Corrupt>,
    ) -> Result<Acquired<'m, S>, ClaimError> {
        // A broken ring's claim stays as it was.
        find_start().map_err(ClaimError::Corrupt)?;
        // relaxed: this incarnation stored that value, and who claims an end is agreed beforehand.
        let reclaimed = self.word.load(Relaxed) == incarnation.word() | RELEASED;
        let claim = Claim {
            word: self.word,
            value: incarnation.word(),
        };
        let mut attempt = 1;
        loop {
            // relaxed: the fence orders it before the second look (C1).
            claim.word.store(claim.value, Relaxed);
            // C1: the claim stored before it and what is looked at after it must not pass each
            // other, as what the holder before stored and its look at the claim must not.
            // loom: loom_evicted
            fence(SeqCst);
            let start = find_start().map_err(|corrupt| {
                claim.release();
                ClaimError::Corrupt(corrupt)
            })?;
            // relaxed: the fence orders it; the claim's holder is not promised more.
            let found = self.word.load(Relaxed);
            if found == claim.value {
                return Ok(Acquired {
                    claim,
                    reclaimed,
                    start,
                });
            }
            // One that gave the end back late, and did not see our claim, has not claimed it.
            if found & RELEASED == 0 || attempt == ATTEMPTS {
                return Err(claimant(found).map_or_else(|e| e, |by| ClaimError::Claimed { by }));
            }
            attempt += 1;
        }
    }
}

/// Whose claim the word is that was loaded from one.
fn claimant(value: u32) -> Result<Incarnation, ClaimError> {
    Incarnation::from_word(value).ok_or(ClaimError::Corrupt(Corrupt {
        word: ControlWord::Claim,
        value,
    }))
}

/// An end's claim, as its holder looks at it.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'m> {
    word: Word<'m>,
    value: u32,
}

impl Claim<'_> {
    /// Whether nobody took the end over. The word lies in a line that the holder
    /// writes anyway.
    #[inline(always)]
    pub(crate) fn is_ours(&self) -> bool {
        // relaxed: the rings say what is ordered and what is not.
        self.word.load(Relaxed) == self.value
    }

    /// Keeps for good that somebody took the end over, also where that one gives it back and
    /// this incarnation claims it again: that is another handle's.
    pub(crate) fn mark_lost(&mut self) {
        self.value = NO_OWNER;
    }

    /// Gives the end back, unless somebody took it over meanwhile.
    pub(crate) fn release(&self) {
        if self.is_ours() {
            // Pairs with the load in `End::check`: we have let go.
            // loom: loom_ring
            self.word.store(self.value | RELEASED, Release);
        }
    }
}
