//! A bakery mutex, and the value that it protects.

use core::marker::PhantomData;
use core::mem::size_of;

use bytemuck::Pod;
use shmem_core::wait::Wait;
use shmem_core::{Corrupt, Incarnation, Window};

use crate::error::{AttachError, LockResult};
use crate::guard::{Guard, Held};
use crate::protected::Protected;
use crate::raw::{bakery, RawBakeryMutex};
use crate::Liveness;

/// A robust mutex for memory on which compare-and-swap does not work, and the value in it that it
/// protects: a `T`, or bytes whose number follows from the segment's length.
///
/// The value is reached only through the [`Guard`].
///
/// Device mappings and some emulators have loads and stores only. Where compare-and-swap works,
/// [`Mutex`](crate::Mutex) costs less: here every call that locks reads the tickets of all
/// partitions that may take part, twice.
///
/// It is fair: first come, first served. Drawing a ticket takes one check of every other ticket.
/// After that, each other partition enters before us at most once, and partitions that arrive later
/// enter later. So a partition that is next in turn and does not run delays all the others; at a
/// [`Mutex`](crate::Mutex) they would go ahead of it. A call that ends without the lock, at its
/// deadline or because it does not wait, loses its place.
///
/// Unlocking rings no doorbell, so use a wait that checks by itself:
/// [`Spin`](shmem_core::wait::Spin), [`SpinYield`](crate::SpinYield),
/// [`SleepPoll`](crate::SleepPoll). A wait that sleeps until it is woken checks again after
/// [`RECHECK`](shmem_core::wait::RECHECK).
///
/// A partition has one handle to a mutex, and `&mut` ensures that one thread uses it at a time. A
/// partition that leaks its guard (`mem::forget`) and locks again waits for itself.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "linux")] {
/// use shmem_core::{Incarnation, Mapping};
/// use shmem_sync::{AssumeAlive, BakeryMutex, LockError, SpinYield};
///
/// let memory = Mapping::memfd("demo", BakeryMutex::<u64>::SEGMENT_LEN)?;
/// // SAFETY: the only handle of this partition.
/// let mut mutex = unsafe { BakeryMutex::<u64>::attach(memory.window(), Incarnation::first(1), 4)? };
///
/// let mut guard = match mutex.lock(&mut SpinYield::forever(), &mut AssumeAlive) {
///     Ok(guard) => guard,
///     Err(LockError::OwnerDied(mut guard)) => {
///         guard.set(0); // Repairs the value.
///         guard.make_consistent();
///         guard
///     }
///     Err(error) => return Err(error.to_string().into()),
/// };
/// guard.update(|count| *count += 1);
/// guard.unlock()?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BakeryMutex<'m, T: ?Sized> {
    raw: RawBakeryMutex<'m>,
    data: Window<'m>,
    value: PhantomData<T>,
}

impl<T: Pod> BakeryMutex<'_, T> {
    /// The length of the segment.
    pub const SEGMENT_LEN: usize = RawBakeryMutex::segment_len(size_of::<T>());
}

impl<'m, T: Protected + ?Sized> BakeryMutex<'m, T> {
    /// Returns the mutex in `segment`, used by `incarnation`, among partitions 1 to `partitions`,
    /// at most 64 ([`BAKERY_PARTITIONS`](crate::layout::BAKERY_PARTITIONS)). A zeroed segment is a
    /// free mutex.
    ///
    /// All partitions must use the same number, otherwise they do not exclude each other. A smaller
    /// number makes locking faster: it reads the entry of each partition twice, and a read from a
    /// device takes about a microsecond.
    ///
    /// It stores the incarnation in its partition's entry, and removes the ticket that an earlier
    /// incarnation may have left there.
    ///
    /// # Errors
    ///
    /// [`AttachError::Partition`] if this partition's number is larger than `partitions`;
    /// [`AttachError::Length`] if the segment is not as long as
    /// [`SEGMENT_LEN`](BakeryMutex::SEGMENT_LEN), or too short for any bakery mutex;
    /// [`AttachError::Shape`] if a partition uses the mutex for another type, or tries to at the
    /// same time; [`AttachError::Evicted`] if a later incarnation of this partition has attached.
    ///
    /// # Safety
    ///
    /// As [`RawBakeryMutex::attach`]: no other handle of `incarnation` on this mutex is used from
    /// now on.
    pub unsafe fn attach(
        segment: Window<'m>,
        incarnation: Incarnation,
        partitions: u8,
    ) -> Result<Self, AttachError> {
        let data = T::data_window(segment, RawBakeryMutex::segment_len(0))?;
        let limit = bakery::limit(incarnation, partitions)?;
        bakery::declare(segment, incarnation.partition(), limit, T::SHAPE)?;
        // SAFETY: guaranteed by the caller.
        let raw = unsafe { RawBakeryMutex::attach(segment, incarnation, limit) }?;
        let value = PhantomData;
        Ok(Self { raw, data, value })
    }

    /// Locks the mutex if no partition holds it or is ahead in the queue, except partitions that
    /// are gone.
    ///
    /// If several partitions try at the same moment, all may fail.
    ///
    /// # Errors
    ///
    /// As [`BakeryMutex::lock`], but [`Busy`](crate::LockFailure::Busy) instead of waiting.
    pub fn try_lock<L: Liveness>(&mut self, liveness: &mut L) -> LockResult<Guard<'_, 'm, T>> {
        self.raw.try_lock(liveness)?.into_result(self.guard())
    }

    /// Locks the mutex, and waits for it until the deadline of `wait`. If the deadline has already
    /// passed, checks once.
    ///
    /// It passes over partitions that are gone. It waits for silent ones.
    ///
    /// # Errors
    ///
    /// As [`Mutex::lock`](crate::Mutex::lock), and [`Evicted`](crate::LockFailure::Evicted) if a
    /// later incarnation of this partition has attached, or others treated this one as gone and
    /// went ahead of it.
    pub fn lock<W: Wait, L: Liveness>(
        &mut self,
        wait: &mut W,
        liveness: &mut L,
    ) -> LockResult<Guard<'_, 'm, T>> {
        self.raw.lock(wait, liveness)?.into_result(self.guard())
    }

    /// Returns the incarnation that holds the mutex: for inspection, it may have changed since.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if the word has a value that no honest partition stores.
    pub fn owner(&self) -> Result<Option<Incarnation>, Corrupt> {
        self.raw.owner()
    }

    /// Returns the guard of the mutex, which was acquired.
    fn guard(&mut self) -> Guard<'_, 'm, T> {
        Guard::new(Held::Bakery(&mut self.raw), self.data)
    }
}
