//! The word that contains the owner of a lock.
//!
//! | `owner`    | meaning | becomes |
//! |------------|---------|---------|
//! | 0          | free    | *l* or *l* + flag, by incarnation *l* that takes it |
//! | *l*        | *l* has the lock; no partition sleeps for it | 0 when released; *l* + flag |
//! | *l* + flag | *l* has the lock; a partition may sleep for it | 0 when released; notifies |
//! | either     | *l* is gone | *m* + flag, by incarnation *m* |
//!
//! - **O1** A word that names an incarnation becomes 0 only by that incarnation, and is taken by
//!   another only after the first is gone. All changes are exchanges of the exact word. So if an
//!   incarnation was treated as gone while it ran, its late stores change nothing of another's.
//! - **O2** A partition that sleeps on the word saw the flag in it, and sleeps only while the word
//!   is the one that it saw.
//! - **O3** A partition that has slept for the word takes it with the flag: one notification wakes
//!   one sleeper, and there may be others.
//!
//! Owner and flag are in one word, so the word itself orders its release and the request to be
//! woken. With two words this would need a fence.
//!
//! | store             | paired load                           | hands over             |
//! |-------------------|---------------------------------------|------------------------|
//! | `owner` in `free` | `owner` in `exchange`, `load_acquire` | what the lock protects |
//!
//! An exchange that takes over, or sets the flag, continues the release sequence of the last
//! `free`. So a partition that takes over from a dead owner also sees the work of the owner before
//! it. The work of the dead one is seen as far as its death is known ([`crate::Liveness`]).
//!
//! A waiter may die or give up between its wake-up and its exchange, and an owner may die between
//! its release and its ring. That costs the others at most one
//! [`RECHECK`](shmem_core::wait::RECHECK).

use shmem_core::mem::Word;
use shmem_core::primitive::Ordering::{Acquire, Relaxed, Release};
use shmem_core::{ControlWord, Corrupt, Incarnation};

use crate::error::{LockFailure, NotHeld};
use crate::waiter::{WaitStep, Waiter};

/// The flag: a partition may sleep on the word.
const SLEEPERS: u32 = Incarnation::FLAG;

/// An owner word and the incarnation that uses it here.
pub(crate) struct Owner<'m> {
    word: Word<'m>,
    incarnation: Incarnation,
    /// The name of the word.
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

    /// Takes the word if it is free. Returns true if it did.
    #[inline]
    pub(crate) fn try_acquire(&self) -> bool {
        self.exchange(0, self.incarnation.word()).is_ok()
    }

    /// Takes the word, if it is free or its owner is gone. Returns true if its owner was gone.
    #[cold]
    pub(crate) fn acquire(&self, waiter: &mut Waiter<'_>) -> Result<bool, LockFailure> {
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

    /// Waits one step until the word is no longer `found`. Returns true if the incarnation in it
    /// was gone and we have the word now.
    pub(crate) fn wait_step(
        &self,
        found: u32,
        waiter: &mut Waiter<'_>,
    ) -> Result<bool, LockFailure> {
        let holder = self.incarnation_in(found).map_err(LockFailure::Corrupt)?;
        // We are alive, whatever `Liveness` reports: another thread of ours has it.
        let other = (holder != self.incarnation).then_some(holder);
        match waiter.wait_step_with_backoff(other) {
            WaitStep::Again => {}
            WaitStep::Gone => {
                return Ok(self
                    .exchange(found, self.incarnation.word() | SLEEPERS)
                    .is_ok())
            }
            WaitStep::Sleep => {
                if let Some(seen) = self.set_flag(found) {
                    waiter.sleep(self.word, seen);
                }
            }
            WaitStep::GiveUp(failure) => {
                // The ring that ended our sleep may have been meant for another, too.
                if waiter.has_slept() {
                    self.set_flag(found);
                }
                return Err(failure);
            }
        }
        Ok(false)
    }

    /// Releases the word. Returns true if a partition may sleep on it, which must be rung.
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

    /// Loads the word, as a hint.
    #[inline]
    pub(crate) fn load_relaxed(&self) -> u32 {
        // relaxed: a hint, or a check of our own word, which another changes only when we are
        // treated as gone (O1). An exchange decides. `release_reader` has a fence before it.
        self.word.load(Relaxed)
    }

    /// Loads the word. If it is 0, the work of its last owner is visible.
    #[inline]
    pub(crate) fn load_acquire(&self) -> u32 {
        // Acquire: pairs with the exchange in `free`.
        // loom: loom_rwlock
        self.word.load(Acquire)
    }

    /// Returns the incarnation that has the word.
    pub(crate) fn holder(&self) -> Result<Option<Incarnation>, Corrupt> {
        match self.load_relaxed() {
            0 => Ok(None),
            found => self.incarnation_in(found).map(Some),
        }
    }

    /// Returns an error unless our incarnation has the word.
    pub(crate) fn check(&self) -> Result<(), NotHeld> {
        match self.load_relaxed() {
            found if found & !SLEEPERS == self.incarnation.word() => Ok(()),
            found => Err(not_held(found)),
        }
    }

    /// Returns the word itself, to sleep on and to ring.
    pub(crate) fn word(&self) -> Word<'m> {
        self.word
    }

    /// Returns the incarnation that uses the word.
    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn incarnation_in(&self, found: u32) -> Result<Incarnation, Corrupt> {
        Incarnation::from_word(found).ok_or(Corrupt {
            word: self.name,
            value: found,
        })
    }

    /// Sets the flag if the word is still `found`. Returns the word with the flag; `None` if it was
    /// no longer `found`.
    fn set_flag(&self, found: u32) -> Option<u32> {
        let flagged = found | SLEEPERS;
        // relaxed: the owner's exchange in `free` finds the flag in the word itself (O2), and this
        // exchange continues the release sequence of the last `free`.
        let exchange = || self.word.compare_exchange(found, flagged, Relaxed, Relaxed);
        (found == flagged || exchange().is_ok()).then_some(flagged)
    }

    /// Exchanges `found` for `ours`; returns what the word was instead.
    #[inline]
    fn exchange(&self, found: u32, ours: u32) -> Result<u32, u32> {
        // Acquire: pairs with the exchange in `free`; the work of the last owner is visible.
        // loom: loom_mutex
        // relaxed: on failure, the caller checks again.
        self.word.compare_exchange(found, ours, Acquire, Relaxed)
    }

    /// Exchanges `ours` for 0; returns what the word was instead (O1).
    #[inline]
    fn free(&self, ours: u32) -> Result<u32, u32> {
        // Release: pairs with the exchange in `exchange` and the load in `load_acquire`; our work
        // is visible to the next owner.
        // loom: loom_mutex
        // relaxed: on failure, only the word itself is used.
        self.word.compare_exchange(ours, 0, Release, Relaxed)
    }
}

/// Returns the incarnation in `word`, which has no flag; `None` if no honest partition stores it.
#[inline]
pub(crate) fn incarnation_without_flag(word: u32) -> Option<Incarnation> {
    Incarnation::from_word(word).filter(|incarnation| incarnation.word() == word)
}

/// Returns the error for a caller that releases a word that is not its own.
pub(crate) fn not_held(found: u32) -> NotHeld {
    NotHeld {
        holder: Incarnation::from_word(found),
    }
}
