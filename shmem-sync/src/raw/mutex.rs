//! Mutual exclusion between partitions that may die inside.
//!
//! | `owner` | `health` | meaning                                                     |
//! |---------|----------|-------------------------------------------------------------|
//! | 0       | whole    | free                                                        |
//! | *l*     | whole    | *l* is inside                                               |
//! | *l*     | *l*      | *l* is inside, after one that died inside                   |
//! | *l*     | *k*      | *l* has just taken over from *k*, and puts *l* there        |
//! | 0       | *k*      | *k* was said to be gone, and was late; whoever takes it is warned |
//! | *l*     | poisoned | *l* found it so, or is giving it back unrepaired; it leaves |
//! | 0       | poisoned | nobody gets in any more                                     |
//!
//! What becomes of `owner`, who sleeps and who is woken: `owner.rs`. Of `health`:
//! [`crate::health`].
//!
//! - **M1** The protected bytes and `health` are used by the owner alone.
//! - **M2** Who takes over puts its incarnation in `health` before it touches the bytes; only
//!   `make_consistent` takes that away. Should it die first, the next one takes over
//!   from it and does the same.
//! - **M3** *Suspect* bytes are not given back but as *poisoned*, stored before
//!   `owner` is freed.
//!
//! M1 binds honest partitions, and those that were not said to be gone while they
//! lived. One that was learns it when it gives the mutex back: it is not its own. What
//! it stores late, but for the bytes, are exchanges of words with its own incarnation, which
//! no longer are there, or *suspect* where bytes are whole ([`crate::health`]).

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
/// use shmem_core::{doorbell::Silent, mem::Heap, wait::Spin, Incarnation};
/// use shmem_sync::{raw::RawMutex, Acquired, AssumeAlive};
///
/// let heap = Heap::new(RawMutex::segment_len(0));
/// let mutex = RawMutex::attach(heap.window(), Incarnation::first(1), &Silent)?;
/// assert_eq!(mutex.lock(&mut Spin::forever(), &mut AssumeAlive)?, Acquired::Clean);
/// // SAFETY: locked above, and nothing else unlocks it.
/// unsafe { mutex.unlock()? };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Unlocking is a promise.
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
    /// Bytes of a segment whose mutex protects `data` bytes.
    pub const fn segment_len(data: usize) -> usize {
        segment_len(LINE, data)
    }

    /// The mutex in `segment`, used by `incarnation`, which rings `bell` for those that wait. A
    /// zeroed segment is a free mutex.
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

    /// Unlocks the mutex. One that was acquired from a dead owner and is not consistent
    /// is poisoned.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this incarnation does not have it; nothing is changed then.
    ///
    /// # Safety
    ///
    /// The caller holds the mutex, or knows that this incarnation does not; no guard of it and no
    /// pointer to what it protects is used after this.
    #[inline]
    pub unsafe fn unlock(&self) -> Result<(), NotHeld> {
        if health::is_suspect(self.health, self.owner.incarnation()) {
            self.poison()?;
        }
        self.release()
    }

    /// Declares what a dead owner left repaired.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this incarnation does not have the mutex.
    ///
    /// # Safety
    ///
    /// The caller holds the mutex, or knows that this incarnation does not; it has repaired the
    /// bytes.
    pub unsafe fn make_consistent(&self) -> Result<(), NotHeld> {
        self.owner.check()?;
        health::repair(self.health, self.owner.incarnation());
        Ok(())
    }

    /// Which incarnation has the mutex now: for inspection, it may have changed since.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if no honest partition stores what is there.
    pub fn owner(&self) -> Result<Option<Incarnation>, Corrupt> {
        self.owner.holder()
    }

    #[cold]
    fn lock_slow(&self, waiter: &mut Waiter<'_>) -> Result<Acquired, LockFailure> {
        let died = self.owner.acquire(waiter)?;
        self.finish_lock(died)
    }

    /// Checks what the new owner, us, has acquired; `died` if from a dead owner.
    #[inline]
    fn finish_lock(&self, died: bool) -> Result<Acquired, LockFailure> {
        let taken =
            health::claim_if_suspect(self.health, ControlWord::MutexHealth, &self.owner, died);
        if taken.is_err() {
            // If it was taken from us meanwhile, there is nothing to release.
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
