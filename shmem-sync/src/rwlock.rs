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

/// A robust reader-writer lock, and the value in shared memory that it protects: a `T`, or bytes
/// whose number follows from the segment's length.
///
/// The value is reached only through a [`Guard`] or a [`ReadGuard`].
///
/// Writers go first: one that waits keeps new readers out, so readers starve if writers follow one
/// another closely. It is not fair among writers, nor among readers that wait. A thread that reads
/// must not lock again: to write, it would wait for itself; to read, it would wait for itself if a
/// writer has arrived in between.
///
/// At most 128 readers hold it at a time. A further one waits, and checks again every
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
    /// The length of the segment.
    pub const SEGMENT_LEN: usize = RawRwLock::segment_len(size_of::<T>());
}

impl<'m, T: Protected + ?Sized> RwLock<'m, T> {
    /// Returns the lock in `segment`, used by `incarnation`, which rings `bell` for those that
    /// wait. A zeroed segment is a free lock.
    ///
    /// # Errors
    ///
    /// As [`Mutex::attach`](crate::Mutex::attach).
    pub fn attach(
        segment: Window<'m>,
        incarnation: Incarnation,
        bell: DoorbellRef<'m>,
    ) -> Result<Self, AttachError> {
        let data = T::data_window(segment, RawRwLock::segment_len(0))?;
        let raw = RawRwLock::attach(segment, incarnation, bell)?;
        T::SHAPE.declare(segment.word(offset_of!(RwLockControl, protects)))?;
        let value = PhantomData;
        Ok(Self { raw, data, value })
    }

    /// Locks for reading, unless a partition writes or waits to write.
    ///
    /// # Errors
    ///
    /// As [`RwLock::read`], but [`Busy`](crate::LockFailure::Busy) instead of waiting.
    pub fn try_read<L: Liveness>(&self, liveness: &mut L) -> LockResult<ReadGuard<'_, 'm, T>> {
        let (acquired, place) = self.raw.try_read(liveness)?;
        acquired.into_result(self.reader(place))
    }

    /// Locks for reading, and waits for writers to leave until the deadline of `wait`. If the
    /// deadline has already passed, checks once.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`](crate::LockError::OwnerDied) with the guard if a writer died while it held the
    /// lock and no writer has repaired the value yet; otherwise as [`RwLock::write`], where
    /// [`Corrupt`](crate::LockFailure::Corrupt) means that no reader word can be claimed
    /// because a partition broke the protocol.
    pub fn read<W: Wait, L: Liveness>(
        &self,
        wait: &mut W,
        liveness: &mut L,
    ) -> LockResult<ReadGuard<'_, 'm, T>> {
        let (acquired, place) = self.raw.read(wait, liveness)?;
        acquired.into_result(self.reader(place))
    }

    /// Locks for writing, unless a partition reads or writes. Readers that arrive during the call
    /// are kept out.
    ///
    /// # Errors
    ///
    /// As [`RwLock::write`], but [`Busy`](crate::LockFailure::Busy) instead of waiting.
    pub fn try_write<L: Liveness>(&self, liveness: &mut L) -> LockResult<Guard<'_, 'm, T>> {
        self.raw
            .try_write(liveness)?
            .into_result(self.writer_guard())
    }

    /// Locks for writing, and waits until the deadline of `wait` for others to leave. If the
    /// deadline has already passed, checks once.
    ///
    /// It does not wait for readers and writers that are gone. It waits for silent ones.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`](crate::LockError::OwnerDied) with the guard if a writer died while it held the
    /// lock; otherwise `Failed` with [`Poisoned`](crate::LockFailure::Poisoned) if the value that a
    /// dead writer left was not repaired; [`TimedOut`](crate::LockFailure::TimedOut) at the
    /// deadline, or [`HolderSilent`](crate::LockFailure::HolderSilent) if the holder is silent
    /// then; [`Corrupt`](crate::LockFailure::Corrupt) if a partition broke the protocol.
    pub fn write<W: Wait, L: Liveness>(
        &self,
        wait: &mut W,
        liveness: &mut L,
    ) -> LockResult<Guard<'_, 'm, T>> {
        self.raw
            .write(wait, liveness)?
            .into_result(self.writer_guard())
    }

    /// Returns the incarnation that writes, or waits to write: for inspection, it may have changed
    /// since.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if the word has a value that no honest partition stores.
    pub fn writer(&self) -> Result<Option<Incarnation>, Corrupt> {
        self.raw.writer()
    }

    /// Returns the incarnations in reader words, for inspection: they read, or are about to give up
    /// because of a writer. An incarnation that reads several times appears several times.
    pub fn readers(&self) -> impl Iterator<Item = Incarnation> + '_ {
        self.raw.readers()
    }

    /// Returns the guard of the lock, which was acquired for reading.
    fn reader(&self, place: usize) -> ReadGuard<'_, 'm, T> {
        ReadGuard::new(&self.raw, place, self.data)
    }

    /// Returns the guard of the lock, which was acquired for writing.
    fn writer_guard(&self) -> Guard<'_, 'm, T> {
        Guard::new(Held::Writer(&self.raw), self.data)
    }
}
