//! A counting semaphore, and permits that release themselves.

use core::mem::ManuallyDrop;

use shmem_core::wait::Wait;
use shmem_core::{Incarnation, Window};

use crate::error::{AttachError, NotHeld};
use crate::raw::{AcquireError, AddError, DoorbellRef, RawSemaphore};
use crate::Liveness;

/// A counting semaphore, as one incarnation of a partition uses it.
///
/// All threads of the partition may use one handle. It needs compare-and-swap
/// ([`Word::compare_exchange`](shmem_core::mem::Word::compare_exchange)).
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "linux")] {
/// use shmem_core::{Incarnation, Mapping};
/// use shmem_sync::{AssumeAlive, Futex, FutexBell, Semaphore};
///
/// let memory = Mapping::memfd("semaphore", Semaphore::segment_len(4))?;
/// let semaphore = Semaphore::attach(memory.window(), Incarnation::first(1), &FutexBell)?;
/// semaphore.add(2)?;
///
/// let permit = semaphore.acquire(&mut Futex::forever(), &mut AssumeAlive)?;
/// assert_eq!(semaphore.available(), 1);
/// permit.release()?;
/// assert_eq!(semaphore.available(), 2);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A permit cannot be released without its [`Permit`].
///
/// ```compile_fail,E0599
/// # use shmem_sync::Semaphore;
/// fn release(semaphore: &Semaphore<'_>) {
///     let _ = semaphore.release();
/// }
/// ```
pub struct Semaphore<'m>(RawSemaphore<'m>);

impl<'m> Semaphore<'m> {
    /// Returns the length of a segment with room for `capacity` permits, at most
    /// [`PERMITS`](crate::layout::PERMITS).
    pub const fn segment_len(capacity: usize) -> usize {
        RawSemaphore::segment_len(capacity)
    }

    /// Returns the semaphore in `segment`, used by `incarnation`, which rings `bell` for those that
    /// wait. A zeroed segment is a semaphore without permits; its length gives the capacity.
    ///
    /// # Errors
    ///
    /// [`AttachError::Length`] if the segment has no room for a permit.
    pub fn attach(
        segment: Window<'m>,
        incarnation: Incarnation,
        bell: DoorbellRef<'m>,
    ) -> Result<Self, AttachError> {
        RawSemaphore::attach(segment, incarnation, bell).map(Self)
    }

    /// Returns the most permits that the semaphore can have.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Returns the number of permits, held or free: an estimate, because it may change meanwhile.
    pub fn permits(&self) -> usize {
        self.0.permits()
    }

    /// Returns the number of free permits: an estimate, because it may change meanwhile.
    pub fn available(&self) -> usize {
        self.0.available()
    }

    /// As [`RawSemaphore::add`].
    ///
    /// # Errors
    ///
    /// [`AddError::Overflow`] if there is no room for all; nothing was added. [`AddError::Evicted`]
    /// if this incarnation was treated as gone meanwhile.
    pub fn add(&self, permits: usize) -> Result<(), AddError> {
        self.0.add(permits)
    }

    /// Acquires a permit that is free, or whose holder is gone.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Busy`] if there is none; [`AcquireError::Corrupt`] if there is none and a
    /// word is corrupt.
    #[inline]
    pub fn try_acquire<L: Liveness>(
        &self,
        liveness: &mut L,
    ) -> Result<Permit<'_, 'm>, AcquireError> {
        self.0.try_acquire(liveness).map(|place| self.permit(place))
    }

    /// Acquires a permit, and waits for one until the deadline of `wait`. If the deadline has
    /// already passed, checks once.
    ///
    /// A silent incarnation keeps its permit. Others use the remaining permits.
    ///
    /// # Errors
    ///
    /// [`AcquireError::TimedOut`] at the deadline, or [`AcquireError::HolderSilent`] if the holder
    /// of a permit is silent then; [`AcquireError::Corrupt`] if there is no permit and a word is
    /// corrupt.
    #[inline]
    pub fn acquire<W: Wait, L: Liveness>(
        &self,
        wait: &mut W,
        liveness: &mut L,
    ) -> Result<Permit<'_, 'm>, AcquireError> {
        let place = self.0.acquire(wait, liveness);
        place.map(|place| self.permit(place))
    }

    #[inline]
    fn permit(&self, place: usize) -> Permit<'_, 'm> {
        let semaphore = &self.0;
        Permit { semaphore, place }
    }
}

/// A permit of a [`Semaphore`]; released when it is dropped.
///
/// A permit that is forgotten ([`core::mem::forget`]) stays with our incarnation until that is
/// gone.
#[must_use = "a permit that is dropped is released"]
pub struct Permit<'s, 'm> {
    semaphore: &'s RawSemaphore<'m>,
    place: usize,
}

impl Permit<'_, '_> {
    /// Releases the permit, as a drop does, and reports whether it was still ours.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if our incarnation was treated as gone and another took the permit.
    #[inline]
    pub fn release(self) -> Result<(), NotHeld> {
        let permit = ManuallyDrop::new(self);
        // SAFETY: acquired, and forgotten after this.
        unsafe { permit.semaphore.release(permit.place) }
    }

    /// Removes the permit from the semaphore, which then has one permit less.
    ///
    /// # Errors
    ///
    /// As [`Permit::release`].
    pub fn consume(self) -> Result<(), NotHeld> {
        let permit = ManuallyDrop::new(self);
        // SAFETY: acquired, and forgotten after this.
        unsafe { permit.semaphore.consume(permit.place) }
    }
}

impl Drop for Permit<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: acquired, and dropped after this. If our incarnation was treated as gone, no
        // caller can get the error.
        let _ = unsafe { self.semaphore.release(self.place) };
    }
}
