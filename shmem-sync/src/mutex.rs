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
//! - **M2** Who takes over puts its life in `health` before it touches the bytes; only
//!   `make_consistent` takes that away. Should it die first, the next one takes over
//!   from it and does the same.
//! - **M3** *Suspect* bytes are not given back but as *poisoned*, stored before
//!   `owner` is freed.
//!
//! M1 binds honest partitions, and those that were not said to be gone while they
//! lived. One that was learns it when it gives the mutex back: it is not its own. What
//! it stores late, but for the bytes, are exchanges of words with its own life, which
//! no longer are there, or *suspect* where bytes are whole ([`crate::health`]).

use memoffset::offset_of;

use shmem_core::doorbell::Doorbell;
use shmem_core::layout::LINE;
use shmem_core::mem::{OutOfWindow, Word};
use shmem_core::wait::Wait;
use shmem_core::{ControlWord, Corrupt, Life, Window};

use crate::error::{LockError, LockResult, NotHeld};
use crate::health;
use crate::layout::MutexControl;
use crate::owner::Owner;
use crate::vigil::Vigil;
use crate::Liveness;

/// A robust mutex, and the bytes in shared memory that it protects.
///
/// Its owner is a life of a partition, not a thread: threads of one partition
/// exclude each other, but one of them may give back what another took. One that
/// locks twice waits for itself.
///
/// Not fair: whoever comes while it is free has it, before those that wake up for
/// it. Locking and giving back cost one compare-and-swap each while nobody waits.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "linux")] {
/// use shmem_core::{Life, Mapping};
/// use shmem_sync::{Futex, FutexBell, AssumeAlive, LockError, Mutex};
///
/// let memory = Mapping::memfd("demo", Mutex::<FutexBell>::segment_len(8))?;
/// let mutex = Mutex::attach(memory.window(), Life::first(1), FutexBell)?;
///
/// let guard = match mutex.lock(&mut Futex::forever(), &mut AssumeAlive) {
///     Ok(guard) => guard,
///     Err(LockError::OwnerDied(mut guard)) => {
///         guard.data().zero(0, 8); // Whatever makes it whole again.
///         guard.make_consistent();
///         guard
///     }
///     Err(error) => return Err(error.to_string().into()),
/// };
/// guard.data().write(0, b"together");
/// guard.unlock()?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mutex<'m, D> {
    owner: Owner<'m>,
    health: Word<'m>,
    data: Window<'m>,
    bell: D,
}

impl<'m, D: Doorbell> Mutex<'m, D> {
    /// Bytes of a segment whose mutex protects `data` bytes.
    pub const fn segment_len(data: usize) -> usize {
        LINE + data.div_ceil(8) * 8
    }

    /// The mutex in `segment`, used by `life`, which rings `bell` for those that
    /// wait. A zeroed segment is a free mutex.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if the segment is shorter than a control line.
    pub fn attach(segment: Window<'m>, life: Life, bell: D) -> Result<Self, OutOfWindow> {
        let control = segment.sub(0, LINE)?;
        let owner = control.word(offset_of!(MutexControl, owner));
        Ok(Self {
            owner: Owner::new(owner, life, ControlWord::MutexOwner),
            health: control.word(offset_of!(MutexControl, health)),
            data: segment.sub(LINE, segment.len() - LINE)?,
            bell,
        })
    }

    /// Takes the mutex if it is free, or its owner is gone.
    ///
    /// # Errors
    ///
    /// As [`Mutex::lock`], but [`LockError::Busy`] instead of waiting.
    #[inline]
    pub fn try_lock<L: Liveness>(&self, liveness: &mut L) -> LockResult<MutexGuard<'_, 'm, D>> {
        if self.owner.seize() {
            return self.admit(false);
        }
        self.take(&mut Vigil::once(liveness))
    }

    /// Takes the mutex, and waits for it until the deadline of `wait`; one that has
    /// passed leaves time for one look.
    ///
    /// It is taken over from an owner that is gone. For one that is silent it waits.
    ///
    /// # Errors
    ///
    /// [`LockError::OwnerDied`] with the guard if the last owner died inside;
    /// [`LockError::Poisoned`] if nobody repaired what such a one left;
    /// [`LockError::TimedOut`] at the deadline, or [`LockError::HolderSilent`] if the
    /// owner is silent then; [`LockError::Corrupt`] if a partition broke the protocol.
    #[inline]
    pub fn lock<W: Wait, L: Liveness>(
        &self,
        wait: &mut W,
        liveness: &mut L,
    ) -> LockResult<MutexGuard<'_, 'm, D>> {
        if self.owner.seize() {
            return self.admit(false);
        }
        self.take(&mut Vigil::long(wait, liveness))
    }

    /// Gives the mutex back without its guard, as a guard that is dropped does: for
    /// callers that forgot it because they cannot keep it.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this life does not have it; nothing is changed then.
    pub fn release(&self) -> Result<(), NotHeld> {
        self.owner.check()?;
        self.give(health::is_suspect(self.health, self.owner.life()))
    }

    /// Says without the guard that the bytes are whole again.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this life does not have the mutex.
    pub fn make_consistent(&self) -> Result<(), NotHeld> {
        self.owner.check()?;
        health::repair(self.health, self.owner.life());
        Ok(())
    }

    /// Which life has the mutex now: for inspection, it may have changed since.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if no honest partition puts there what is there.
    pub fn owner(&self) -> Result<Option<Life>, Corrupt> {
        self.owner.holder()
    }

    #[cold]
    fn take(&self, vigil: &mut Vigil<'_>) -> LockResult<MutexGuard<'_, 'm, D>> {
        let died = self.owner.take(vigil).map_err(LockError::of)?;
        self.admit(died)
    }

    /// Looks at what the new owner, us, has got; `died` if it was had of a dead one.
    #[inline]
    fn admit(&self, died: bool) -> LockResult<MutexGuard<'_, 'm, D>> {
        let guard = |suspect| MutexGuard {
            mutex: self,
            suspect,
        };
        match health::take_on(self.health, ControlWord::MutexHealth, &self.owner, died) {
            Ok(false) => Ok(guard(false)),
            Ok(true) => Err(LockError::OwnerDied(guard(true))),
            Err(refusal) => {
                drop(guard(false));
                Err(refusal.of())
            }
        }
    }

    #[inline]
    fn give(&self, suspect: bool) -> Result<(), NotHeld> {
        if suspect {
            self.poison()?;
        }
        if self.owner.give()? {
            self.bell.ring(self.owner.word().as_atomic());
        }
        Ok(())
    }

    #[cold]
    fn poison(&self) -> Result<(), NotHeld> {
        self.owner.check()?;
        health::poison(self.health, self.owner.life()); // M3
        Ok(())
    }
}

/// The mutex is had; dropped, it is given back.
///
/// Dropped or given back by one that was warned and did not
/// [`make_consistent`](MutexGuard::make_consistent), it poisons the mutex.
#[must_use = "the mutex is given back at once if the guard is dropped"]
pub struct MutexGuard<'l, 'm, D: Doorbell> {
    mutex: &'l Mutex<'m, D>,
    /// Whether the last owner's death is not made good.
    suspect: bool,
}

impl<'m, D: Doorbell> MutexGuard<'_, 'm, D> {
    /// The protected bytes: the caller's alone as long as it has the mutex.
    pub fn data(&self) -> Window<'m> {
        self.mutex.data
    }

    /// Says that what a dead owner left is repaired. One that was meanwhile said to
    /// be gone changes nothing by it, and learns it from [`MutexGuard::unlock`].
    pub fn make_consistent(&mut self) {
        if self.mutex.make_consistent().is_ok() {
            self.suspect = false;
        }
    }

    /// Gives the mutex back.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this life was said to be gone and the mutex taken from it:
    /// others were inside meanwhile.
    #[inline]
    pub fn unlock(self) -> Result<(), NotHeld> {
        let given = self.mutex.give(self.suspect);
        core::mem::forget(self);
        given
    }
}

impl<D: Doorbell> Drop for MutexGuard<'_, '_, D> {
    #[inline]
    fn drop(&mut self) {
        // Nobody to tell that it was not held any more: who wants to know unlocks.
        let _ = self.mutex.give(self.suspect);
    }
}
