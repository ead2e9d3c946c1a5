//! A mutex, and the value that it protects.

use core::marker::PhantomData;
use core::mem::size_of;

use bytemuck::Pod;
use memoffset::offset_of;
use shmem_core::wait::Wait;
use shmem_core::{Corrupt, Incarnation, Window};

use crate::error::{AttachError, LockResult};
use crate::guard::{Guard, Held};
use crate::layout::MutexControl;
use crate::protected::Protected;
use crate::raw::{DoorbellRef, RawMutex};
use crate::Liveness;

/// A robust mutex, and the value in shared memory that it protects: a `T`, or bytes whose number
/// follows from the segment's length.
///
/// The value is reached only through the [`Guard`].
///
/// Its owner is an incarnation of a partition, not a thread: handles and threads of one partition
/// exclude each other. A partition that locks it again while it holds it waits for itself.
///
/// It is not fair: a partition that arrives while it is free acquires it before those that are
/// still waking up. Locking and unlocking cost one compare-and-swap each while no partition waits.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "linux")] {
/// use shmem_core::{Incarnation, Mapping};
/// use shmem_sync::{AssumeAlive, Futex, FutexBell, LockError, Mutex};
///
/// let memory = Mapping::memfd("demo", Mutex::<u64>::SEGMENT_LEN)?;
/// let mutex = Mutex::<u64>::attach(memory.window(), Incarnation::first(1), &FutexBell)?;
///
/// let mut guard = match mutex.lock(&mut Futex::forever(), &mut AssumeAlive) {
///     Ok(guard) => guard,
///     Err(LockError::OwnerDied(mut guard)) => {
///         guard.set(0); // Repairs the value.
///         guard.make_consistent();
///         guard
///     }
///     Err(error) => return Err(error.to_string().into()),
/// };
/// guard.update(|count| *count += 1);
/// assert_eq!(guard.get(), 1);
/// guard.unlock()?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It cannot be unlocked without the guard.
///
/// ```compile_fail,E0599
/// # use shmem_sync::Mutex;
/// fn unlock(mutex: &Mutex<'_, u64>) {
///     let _ = mutex.unlock();
/// }
/// ```
pub struct Mutex<'m, T: ?Sized> {
    raw: RawMutex<'m>,
    data: Window<'m>,
    value: PhantomData<T>,
}

impl<T: Pod> Mutex<'_, T> {
    /// The length of the segment.
    pub const SEGMENT_LEN: usize = RawMutex::segment_len(size_of::<T>());
}

impl<'m, T: Protected + ?Sized> Mutex<'m, T> {
    /// Returns the mutex in `segment`, used by `incarnation`, which rings `bell` for those that
    /// wait. A zeroed segment is a free mutex.
    ///
    /// # Errors
    ///
    /// [`AttachError::Length`] if the segment is not as long as
    /// [`SEGMENT_LEN`](Mutex::SEGMENT_LEN), or too short for any mutex;
    /// [`AttachError::Shape`] if a partition uses the mutex for another type.
    pub fn attach(
        segment: Window<'m>,
        incarnation: Incarnation,
        bell: DoorbellRef<'m>,
    ) -> Result<Self, AttachError> {
        let data = T::data_window(segment, RawMutex::segment_len(0))?;
        let raw = RawMutex::attach(segment, incarnation, bell)?;
        T::SHAPE.declare(segment.word(offset_of!(MutexControl, protects)))?;
        let value = PhantomData;
        Ok(Self { raw, data, value })
    }

    /// Locks the mutex if it is free or its owner is gone.
    ///
    /// # Errors
    ///
    /// As [`Mutex::lock`], but [`Busy`](crate::LockFailure::Busy) instead of waiting.
    #[inline]
    pub fn try_lock<L: Liveness>(&self, liveness: &mut L) -> LockResult<Guard<'_, 'm, T>> {
        self.raw.try_lock(liveness)?.into_result(self.guard())
    }

    /// Locks the mutex, and waits for it until the deadline of `wait`. If the deadline has already
    /// passed, checks once.
    ///
    /// It takes over the mutex from an owner that is gone. It waits for a silent one.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`](crate::LockError::OwnerDied) with the guard if the last owner died while it
    /// held the mutex; otherwise `Failed` with [`Poisoned`](crate::LockFailure::Poisoned) if the
    /// value that a dead owner left was not repaired; [`TimedOut`](crate::LockFailure::TimedOut) at
    /// the deadline, or [`HolderSilent`](crate::LockFailure::HolderSilent) if the owner is silent
    /// then; [`Corrupt`](crate::LockFailure::Corrupt) if a partition broke the protocol.
    #[inline]
    pub fn lock<W: Wait, L: Liveness>(
        &self,
        wait: &mut W,
        liveness: &mut L,
    ) -> LockResult<Guard<'_, 'm, T>> {
        self.raw.lock(wait, liveness)?.into_result(self.guard())
    }

    /// Returns the incarnation that has the mutex: for inspection, it may have changed since.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if the word has a value that no honest partition stores.
    pub fn owner(&self) -> Result<Option<Incarnation>, Corrupt> {
        self.raw.owner()
    }

    /// Returns the guard of the mutex, which was acquired.
    #[inline]
    fn guard(&self) -> Guard<'_, 'm, T> {
        Guard::new(Held::Mutex(&self.raw), self.data)
    }
}
