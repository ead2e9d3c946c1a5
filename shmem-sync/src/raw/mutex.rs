//! Mutual exclusion between partitions that may die while they hold the lock.
//!
//! | `owner` | `health` | meaning                                                           |
//! |---------|----------|-------------------------------------------------------------------|
//! | 0       | whole    | free                                                              |
//! | *l*     | whole    | *l* holds the lock                                                |
//! | *l*     | *l*      | *l* holds the lock, after an owner that died while it held it     |
//! | *l*     | *k*      | *l* has just taken over from *k*, and will store *l* there        |
//! | 0       | *k*      | *k* was treated as gone and stored late; the next owner is warned |
//! | *l*     | poisoned | *l* found this, or unlocks without repair; it frees `owner` next  |
//! | 0       | poisoned | no partition gets in any more                                     |
//!
//! `owner.rs` describes the changes of `owner`, sleeping and waking; [`crate::health`] describes
//! `health`.
//!
//! - **M1** Only the owner uses the protected bytes and `health`.
//! - **M2** An owner that takes over stores its incarnation in `health` before it touches the
//!   bytes; only `make_consistent` removes it. If the owner dies first, the next one takes over
//!   from it and does the same.
//! - **M3** *Suspect* bytes are released only as *poisoned*, which is stored before `owner` is
//!   freed.
//!
//! M1 binds honest partitions that were not treated as gone while they ran. An incarnation that was
//! gets [`NotHeld`] when it unlocks. Its late stores, except those to the bytes, are
//! compare-and-swaps that expect its own incarnation in a word, and fail because it is no longer
//! there. One can succeed: it marks whole bytes as *suspect* ([`crate::health`]).

use memoffset::offset_of;

use shmem_core::layout::LINE;
use shmem_core::mem::Word;
use shmem_core::wait::Wait;
use shmem_core::{ControlWord, Corrupt, Incarnation, Window};

use super::DoorbellRef;
use crate::error::{Acquired, AttachError, LockFailure, NotHeld};
use crate::health;
use crate::layout::MutexControl;
use crate::owner::Owner;
use crate::protected::{control, segment_len};
use crate::waiter::Waiter;
use crate::Liveness;

/// The protocol of [`Mutex`](crate::Mutex), without a guard.
///
/// # Examples
///
/// ```
/// use shmem_core::{doorbell::NoDoorbell, mem::Heap, wait::Spin, Incarnation};
/// use shmem_sync::{raw::RawMutex, Acquired, AssumeAlive};
///
/// let heap = Heap::new(RawMutex::segment_len(0));
/// let mutex = RawMutex::attach(heap.window(), Incarnation::first(1), &NoDoorbell)?;
/// assert_eq!(mutex.lock(&mut Spin::forever(), &mut AssumeAlive)?, Acquired::Clean);
/// // SAFETY: locked above, and nothing else unlocks it.
/// unsafe { mutex.unlock()? };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Unlocking is `unsafe`: the caller guarantees that it holds the mutex.
///
/// ```compile_fail,E0133
/// # use shmem_sync::raw::RawMutex;
/// fn unlock(mutex: &RawMutex<'_>) {
///     let _ = mutex.unlock();
/// }
/// ```
pub struct RawMutex<'m> {
    owner: Owner<'m>,
    health: Word<'m>,
    bell: DoorbellRef<'m>,
}

impl<'m> RawMutex<'m> {
    /// Returns the length of a segment whose mutex protects `data` bytes.
    pub const fn segment_len(data: usize) -> usize {
        segment_len(LINE, data)
    }

    /// Returns the mutex in `segment`, used by `incarnation`, which rings `bell` for those that
    /// wait. A zeroed segment is a free mutex.
    ///
    /// # Errors
    ///
    /// [`AttachError::Length`] if the segment is shorter than a control line.
    pub fn attach(
        segment: Window<'m>,
        incarnation: Incarnation,
        bell: DoorbellRef<'m>,
    ) -> Result<Self, AttachError> {
        let control = control(segment, LINE)?;
        let owner = control.word(offset_of!(MutexControl, owner));
        Ok(Self {
            owner: Owner::new(owner, incarnation, ControlWord::MutexOwner),
            health: control.word(offset_of!(MutexControl, health)),
            bell,
        })
    }

    /// Rings `bell` from now on.
    pub fn set_bell(&mut self, bell: DoorbellRef<'m>) {
        self.bell = bell;
    }

    /// As [`Mutex::try_lock`](crate::Mutex::try_lock).
    ///
    /// # Errors
    ///
    /// As [`RawMutex::lock`], but [`LockFailure::Busy`] instead of waiting.
    #[inline]
    pub fn try_lock<L: Liveness>(&self, liveness: &mut L) -> Result<Acquired, LockFailure> {
        if self.owner.try_acquire() {
            return self.finish_lock(false);
        }
        self.lock_slow(&mut Waiter::without_waiting(liveness))
    }

    /// As [`Mutex::lock`](crate::Mutex::lock).
    ///
    /// # Errors
    ///
    /// [`LockFailure`], with the meaning it has there.
    #[inline]
    pub fn lock<W: Wait, L: Liveness>(
        &self,
        wait: &mut W,
        liveness: &mut L,
    ) -> Result<Acquired, LockFailure> {
        if self.owner.try_acquire() {
            return self.finish_lock(false);
        }
        self.lock_slow(&mut Waiter::new(wait, liveness))
    }

    /// Unlocks the mutex. If it was acquired from a dead owner and not declared consistent, it is
    /// poisoned.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this incarnation does not have it; then nothing is changed.
    ///
    /// # Safety
    ///
    /// The caller holds the mutex, or relies on the error because this incarnation does not hold
    /// it. No guard of it and no pointer to what it protects is used after this.
    #[inline]
    pub unsafe fn unlock(&self) -> Result<(), NotHeld> {
        if health::is_suspect(self.health, self.owner.incarnation()) {
            self.poison()?;
        }
        self.release()
    }

    /// Declares that the data that a dead owner left is repaired.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this incarnation does not have the mutex.
    ///
    /// # Safety
    ///
    /// The caller holds the mutex and has repaired the bytes, or relies on the error because this
    /// incarnation does not hold it.
    pub unsafe fn make_consistent(&self) -> Result<(), NotHeld> {
        self.owner.check()?;
        health::repair(self.health, self.owner.incarnation());
        Ok(())
    }

    /// Returns the incarnation that has the mutex: for inspection, it may have changed since.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if the word has a value that no honest partition stores.
    pub fn owner(&self) -> Result<Option<Incarnation>, Corrupt> {
        self.owner.holder()
    }

    #[cold]
    fn lock_slow(&self, waiter: &mut Waiter<'_>) -> Result<Acquired, LockFailure> {
        let died = self.owner.acquire(waiter)?;
        self.finish_lock(died)
    }

    /// Checks the health of the mutex that we have acquired; `died` if from a dead owner.
    #[inline]
    fn finish_lock(&self, died: bool) -> Result<Acquired, LockFailure> {
        let taken =
            health::claim_if_suspect(self.health, ControlWord::MutexHealth, &self.owner, died);
        if taken.is_err() {
            // If another has taken it over meanwhile, there is nothing to release.
            let _ = self.release();
        }
        taken.map(Acquired::new)
    }

    #[inline]
    fn release(&self) -> Result<(), NotHeld> {
        if self.owner.release()? {
            self.bell.ring(self.owner.word().as_atomic());
        }
        Ok(())
    }

    #[cold]
    fn poison(&self) -> Result<(), NotHeld> {
        self.owner.check()?;
        health::poison(self.health, self.owner.incarnation()); // M3
        Ok(())
    }
}
