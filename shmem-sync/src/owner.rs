//! The word that says whose a lock is.
//!
//! | `owner`     | meaning                                 | becomes                       |
//! |-------------|-----------------------------------------|-------------------------------|
//! | 0           | nobody's                                | *l* or *l* + flag, by who takes it |
//! | *l*         | incarnation *l*'s; nobody sleeps for it        | 0 when given back; *l* + flag |
//! | *l* + flag  | incarnation *l*'s; somebody may sleep for it   | 0 when given back, and a ring |
//! | either      | and *l* is gone                         | *m* + flag, by incarnation *m*       |
//!
//! - **O1** An incarnation's word becomes 0 by that incarnation alone, and another incarnation's
//!   only when the first is gone. All changes are exchanges of the exact word, so what an
//!   incarnation that was said to be gone stores late changes nothing of another's.
//! - **O2** Whoever sleeps on the word saw the flag in it, and sleeps only while
//!   the word is the one it saw.
//! - **O3** Whoever has slept for the word takes it with the flag: one ring wakes
//!   one sleeper, and there may be others.
//!
//! Owner and flag are one word, so that giving it back and asking to be woken are
//! ordered by the word itself: no fence is needed, as one would be between two.
//!
//! | store                | paired load                   | hands over             |
//! |----------------------|-------------------------------|------------------------|
//! | `owner` in `free`    | `owner` in `exchange`, `look` | what the lock protects |
//!
//! An exchange that takes over, or sets the flag, continues what the last `free`
//! began: who takes from a dead owner sees what the one before it did, too. What
//! the dead one did is seen as far as its death is known ([`crate::Liveness`]).
//!
//! A waiter that dies between its wake-up and its turn, or gives up just then, and
//! an owner that dies between giving back and ringing, cost the others at most one
//! [`RECHECK`](shmem_core::wait::RECHECK).

use shmem_core::mem::Word;
use shmem_core::primitive::Ordering::{Acquire, Relaxed, Release};
use shmem_core::{ControlWord, Corrupt, Incarnation};

use crate::error::{LockFailure, NotHeld};
use crate::waiter::{WaitStep, Waiter};

/// The flag: somebody may sleep on the word.
const SLEEPERS: u32 = Incarnation::FLAG;

/// An owner word and the incarnation that uses it here.
pub(crate) struct Owner<'m> {
    word: Word<'m>,
    incarnation: Incarnation,
    /// Which one it is.
    name: ControlWord,
}

impl<'m> Owner<'m> {
    pub(crate) fn new(word: Word<'m>, incarnation: Incarnation, name: ControlWord) -> Self {
        Self {
            word,
            incarnation,
            name,
        }
    }

    /// Takes the word if it is free.
    #[inline]
    pub(crate) fn try_acquire(&self) -> bool {
        self.exchange(0, self.incarnation.word()).is_ok()
    }

    /// Takes the word from nobody or from the dead. Whether it was from the dead.
    #[cold]
    pub(crate) fn take(&self, waiter: &mut Waiter<'_>) -> Result<bool, LockFailure> {
        loop {
            let sleepers = if waiter.has_slept() { SLEEPERS } else { 0 }; // O3
            let ours = self.incarnation.word() | sleepers;
            // relaxed: a hint; an exchange of the value that was found decides (O1).
            let found = match self.word.load(Relaxed) {
                0 => match self.exchange(0, ours) {
                    Ok(_) => return Ok(false),
                    Err(found) => found,
                },
                found => found,
            };
            if self.wait_step(found, waiter)? {
                return Ok(true);
            }
        }
    }

    /// Spends a turn on waiting for `found` to leave the word. Whether its incarnation was
    /// over, and the word is ours now.
    pub(crate) fn wait_step(
        &self,
        found: u32,
        waiter: &mut Waiter<'_>,
    ) -> Result<bool, LockFailure> {
        let holder = self.incarnation_in(found).map_err(LockFailure::Corrupt)?;
        // We live, whatever is said of us: another thread of ours has it.
        let other = (holder != self.incarnation).then_some(holder);
        match waiter.longer_wait_step(other) {
            WaitStep::Again => {}
            WaitStep::Gone => {
                return Ok(self
                    .exchange(found, self.incarnation.word() | SLEEPERS)
                    .is_ok())
            }
            WaitStep::Sleep => {
                if let Some(seen) = self.flag(found) {
                    waiter.sleep(self.word, seen);
                }
            }
            WaitStep::GiveUp(failure) => {
                // The ring that ended our sleep was perhaps another's as well.
                if waiter.has_slept() {
                    self.flag(found);
                }
                return Err(failure);
            }
        }
        Ok(false)
    }

    /// Gives the word back. Whether somebody may sleep on it, who is to be rung.
    #[inline]
    pub(crate) fn release(&self) -> Result<bool, NotHeld> {
        let ours = self.incarnation.word();
        match self.free(ours) {
            Ok(_) => Ok(false),
            Err(found) if found == ours | SLEEPERS => {
                self.free(found).map_err(not_held)?;
                Ok(true)
            }
            Err(found) => Err(not_held(found)),
        }
    }

    /// The word, for one who will look again before relying on it.
    #[inline]
    pub(crate) fn glance(&self) -> u32 {
        // relaxed: a hint, or a check of our own word, which another changes only when we are
        // taken for gone (O1); an exchange decides. `release_read` has a fence before it.
        self.word.load(Relaxed)
    }

    /// The word; 0 lets us see what its last owner did.
    #[inline]
    pub(crate) fn look(&self) -> u32 {
        // Acquire: pairs with the exchange in `free`.
        // loom: loom_rwlock
        self.word.load(Acquire)
    }

    /// Who has the word.
    pub(crate) fn holder(&self) -> Result<Option<Incarnation>, Corrupt> {
        match self.glance() {
            0 => Ok(None),
            found => self.incarnation_in(found).map(Some),
        }
    }

    /// An error unless the word is our incarnation's.
    pub(crate) fn check(&self) -> Result<(), NotHeld> {
        match self.glance() {
            found if found & !SLEEPERS == self.incarnation.word() => Ok(()),
            found => Err(not_held(found)),
        }
    }

    /// The word itself, to sleep on and to ring.
    pub(crate) fn word(&self) -> Word<'m> {
        self.word
    }

    /// Whose locking this is.
    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn incarnation_in(&self, found: u32) -> Result<Incarnation, Corrupt> {
        Incarnation::from_word(found).ok_or(Corrupt {
            word: self.name,
            value: found,
        })
    }

    /// Puts the flag to `found`, and returns what the word is now: `None` if it
    /// was no longer `found`.
    fn flag(&self, found: u32) -> Option<u32> {
        let flagged = found | SLEEPERS;
        // relaxed: the owner's exchange in `free` meets the flag in the word itself (O2), and
        // this one continues what the last `free` began.
        let flag = || self.word.compare_exchange(found, flagged, Relaxed, Relaxed);
        (found == flagged || flag().is_ok()).then_some(flagged)
    }

    /// Takes the word from `found`, or says what it was instead.
    #[inline]
    fn exchange(&self, found: u32, ours: u32) -> Result<u32, u32> {
        // Acquire: pairs with the exchange in `free`; what the last owner did is
        // seen.
        // loom: loom_mutex
        // relaxed: on failure, the loser looks again.
        self.word.compare_exchange(found, ours, Acquire, Relaxed)
    }

    /// Gives `ours` back, or says what the word was instead (O1).
    #[inline]
    fn free(&self, ours: u32) -> Result<u32, u32> {
        // Release: pairs with the exchange in `exchange` and the load in `look`;
        // what we did is seen by the next owner.
        // loom: loom_mutex
        // relaxed: on failure, the word alone says what to do.
        self.word.compare_exchange(ours, 0, Release, Relaxed)
    }
}

/// The incarnation in `word`, which has no flag; `None` if no honest partition puts it there.
#[inline]
pub(crate) fn plain(word: u32) -> Option<Incarnation> {
    Incarnation::from_word(word).filter(|incarnation| incarnation.word() == word)
}

/// What is told to one who gives back what is not its own.
pub(crate) fn not_held(found: u32) -> NotHeld {
    NotHeld {
        holder: Incarnation::from_word(found),
    }
}
