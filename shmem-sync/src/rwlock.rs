//! A reader-writer lock, and the value that it protects.

use core::marker::PhantomData;
use core::mem::size_of;

use bytemuck::Pod;
use memoffset::offset_of;
use shmem_core::wait::Wait;
use shmem_core::{Corrupt, Incarnation, Window};

use crate::error::{AttachError, LockResult};
use crate::guard::{Guard, Held, ReadGuard};
use crate::layout::RwLockControl;
use crate::protected::Protected;
use crate::raw::{DoorbellRef, RawRwLock};
use crate::Liveness;

/// A robust reader-writer lock, and the value in shared memory that it protects: a `T`,
/// or bytes whose number the segment's length says.
///
/// The value is reached through a [`Guard`] or a [`ReadGuard`] alone.
///
/// Writers go first: one that waits keeps new readers out, so readers starve
/// where writers follow one another closely. Among writers, and among readers
/// that wait, it is not fair. A reader that reads again while it reads, or writes,
/// waits for itself once a writer comes between.
///
/// At most 128 read at a time; the next one waits, and looks again every
/// [`RECHECK`](shmem_core::wait::RECHECK).
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "linux")] {
/// use shmem_core::{Incarnation, Mapping};
/// use shmem_sync::{AssumeAlive, Futex, FutexBell, RwLock};
///
/// let memory = Mapping::memfd("demo", RwLock::<u64>::SEGMENT_LEN)?;
/// let lock = RwLock::<u64>::attach(memory.window(), Incarnation::first(1), &FutexBell)?;
///
/// let mut guard = lock.write(&mut Futex::forever(), &mut AssumeAlive).map_err(|e| e.to_string())?;
/// guard.set(7);
/// guard.unlock()?;
///
/// let guard = lock.read(&mut Futex::forever(), &mut AssumeAlive).map_err(|e| e.to_string())?;
/// assert_eq!(guard.get(), 7);
/// # drop(guard);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RwLock<'m, T: ?Sized> {
    raw: RawRwLock<'m>,
    data: Window<'m>,
    value: PhantomData<T>,
}

impl<T: Pod> RwLock<'_, T> {
    /// Bytes of the segment.
    pub const SEGMENT_LEN: usize = RawRwLock::segment_len(size_of::<T>());
}

impl<'m, T: Protected + ?Sized> RwLock<'m, T> {
    /// The lock in `segment`, used by `incarnation`, which rings `bell` for those that wait. A
    /// zeroed segment is a free lock.
    ///
    /// # Errors
    ///
    /// As [`Mutex::attach`](crate::Mutex::attach).
    pub fn attach(
        segment: Window<'m>,
        incarnation: Incarnation,
        bell: DoorbellRef<'m>,
    ) -> Result<Self, AttachError> {
        let data = T::part(segment, RawRwLock::segment_len(0))?;
        let raw = RawRwLock::attach(segment, incarnation, bell)?;
        T::SHAPE.install(segment.word(offset_of!(RwLockControl, protects)))?;
        let value = PhantomData;
        Ok(Self { raw, data, value })
    }

    /// Locks for reading if nobody writes or waits to.
    ///
    /// # Errors
    ///
    /// As [`RwLock::read`], but [`Busy`](crate::LockFailure::Busy) instead of waiting.
    pub fn try_read<L: Liveness>(&self, liveness: &mut L) -> LockResult<ReadGuard<'_, 'm, T>> {
        let (acquired, place) = self.raw.try_read(liveness)?;
        acquired.guard(self.reader(place))
    }

    /// Locks for reading, and waits for writers to leave until the deadline of `wait`;
    /// one that has passed leaves time for one look.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`](crate::LockError::OwnerDied) with the guard if a writer died inside
    /// and no other writer has repaired it yet; otherwise as [`RwLock::write`], where
    /// [`Corrupt`](crate::LockFailure::Corrupt) says that no reader word can be claimed
    /// because a partition broke the protocol.
    pub fn read<W: Wait, L: Liveness>(
        &self,
        wait: &mut W,
        liveness: &mut L,
    ) -> LockResult<ReadGuard<'_, 'm, T>> {
        let (acquired, place) = self.raw.read(wait, liveness)?;
        acquired.guard(self.reader(place))
    }

    /// Locks for writing if nobody reads or writes. Readers that come while it looks are
    /// kept out.
    ///
    /// # Errors
    ///
    /// As [`RwLock::write`], but [`Busy`](crate::LockFailure::Busy) instead of waiting.
    pub fn try_write<L: Liveness>(&self, liveness: &mut L) -> LockResult<Guard<'_, 'm, T>> {
        self.raw.try_write(liveness)?.guard(self.writer_guard())
    }

    /// Locks for writing, and waits until the deadline of `wait` for others to leave; one
    /// that has passed leaves time for one look.
    ///
    /// Nobody waits for readers and writers that are gone. For silent ones it waits.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`](crate::LockError::OwnerDied) with the guard if a writer died inside;
    /// otherwise `Failed` with
    /// [`Poisoned`](crate::LockFailure::Poisoned) if nobody repaired what such a one left;
    /// [`TimedOut`](crate::LockFailure::TimedOut) at the deadline, or
    /// [`HolderSilent`](crate::LockFailure::HolderSilent) if who is waited for then is
    /// silent; [`Corrupt`](crate::LockFailure::Corrupt) if a partition broke the protocol.
    pub fn write<W: Wait, L: Liveness>(
        &self,
        wait: &mut W,
        liveness: &mut L,
    ) -> LockResult<Guard<'_, 'm, T>> {
        self.raw.write(wait, liveness)?.guard(self.writer_guard())
    }

    /// Which incarnation writes, or waits to: for inspection, it may have changed since.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if no honest partition stores what is there.
    pub fn writer(&self) -> Result<Option<Incarnation>, Corrupt> {
        self.raw.writer()
    }

    /// Which incarnations read, or are about to find that they may not: for inspection. One
    /// that reads several times is there as often.
    pub fn readers(&self) -> impl Iterator<Item = Incarnation> + '_ {
        self.raw.readers()
    }

    /// Of the lock, which was acquired for reading.
    fn reader(&self, place: usize) -> ReadGuard<'_, 'm, T> {
        ReadGuard::new(&self.raw, place, self.data)
    }

    /// Of the lock, which was acquired for writing.
    fn writer_guard(&self) -> Guard<'_, 'm, T> {
        Guard::new(Held::Writer(&self.raw), self.data)
    }
}
