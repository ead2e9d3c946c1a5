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

/// A robust mutex for memory on which compare-and-swap does not work, and the value in it
/// that it protects: a `T`, or bytes whose number the segment's length says.
///
/// The value is reached through the [`Guard`] alone.
///
/// Device mappings and some emulators have loads and stores only. Where
/// compare-and-swap works, [`Mutex`](crate::Mutex) costs less: here every locking
/// reads the tickets of all partitions that may take part, twice.
///
/// Fair, first come first served: once a partition has drawn its ticket, which
/// takes one look at every other's, each other partition goes in before it once
/// at the most, and whoever comes later goes in later. So one that has its turn and
/// is not running holds up all the others, where they would pass it at a
/// [`Mutex`](crate::Mutex). A call that gives up, at its deadline or because it does
/// not wait, loses its place.
///
/// Nobody rings when it is unlocked, so wait with what looks by itself:
/// [`Spin`](shmem_core::wait::Spin), [`SpinYield`](crate::SpinYield),
/// [`SleepPoll`](crate::SleepPoll). A wait that sleeps until it is woken looks
/// again after [`RECHECK`](shmem_core::wait::RECHECK).
///
/// A partition has one handle to a mutex, and one thread uses it at a time, which
/// `&mut` sees to. One that forgets its guard and locks again waits for itself.
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
///         guard.set(0); // Whatever makes it whole again.
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
    /// Bytes of the segment.
    pub const SEGMENT_LEN: usize = RawBakeryMutex::segment_len(size_of::<T>());
}

impl<'m, T: Protected + ?Sized> BakeryMutex<'m, T> {
    /// The mutex in `segment`, used by `incarnation`, among partitions 1 to `partitions`, 64 at
    /// the most ([`BAKERY_PARTITIONS`](crate::layout::BAKERY_PARTITIONS)). A zeroed segment
    /// is a free mutex.
    ///
    /// All must say the same number of partitions, or they do not exclude each other. The
    /// fewer, the sooner it is acquired: locking reads the entry of each twice, and a read of
    /// a device takes about a microsecond.
    ///
    /// It stores the incarnation in its partition's entry, and takes away the ticket that an
    /// earlier incarnation may have left there.
    ///
    /// # Errors
    ///
    /// [`AttachError::Partition`] if the number of this one is larger;
    /// [`AttachError::Length`] if the segment is not as long as
    /// [`SEGMENT_LEN`](BakeryMutex::SEGMENT_LEN), or too short for any bakery mutex;
    /// [`AttachError::Shape`] if a partition uses the mutex for another type, or tries to at
    /// the same time.
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
        let data = T::part(segment, RawBakeryMutex::segment_len(0))?;
        let limit = bakery::limit(incarnation, partitions)?;
        bakery::agree(segment, incarnation.partition(), limit, T::SHAPE)?;
        // SAFETY: the caller's.
        let raw = unsafe { RawBakeryMutex::attach(segment, incarnation, limit) }?;
        let value = PhantomData;
        Ok(Self { raw, data, value })
    }

    /// Locks the mutex if nobody is inside or before us but those that are gone.
    ///
    /// Of several that try at the same moment, all may fail.
    ///
    /// # Errors
    ///
    /// As [`BakeryMutex::lock`], but [`Busy`](crate::LockFailure::Busy) instead of waiting.
    pub fn try_lock<L: Liveness>(&mut self, liveness: &mut L) -> LockResult<Guard<'_, 'm, T>> {
        self.raw.try_lock(liveness)?.guard(self.guard())
    }

    /// Locks the mutex, and waits for it until the deadline of `wait`; one that has
    /// passed leaves time for one look.
    ///
    /// Those that are gone are passed over. For silent ones it waits.
    ///
    /// # Errors
    ///
    /// As [`Mutex::lock`](crate::Mutex::lock), and
    /// [`Evicted`](crate::LockFailure::Evicted) if a later incarnation of this partition
    /// has attached, or others passed this one over as gone.
    pub fn lock<W: Wait, L: Liveness>(
        &mut self,
        wait: &mut W,
        liveness: &mut L,
    ) -> LockResult<Guard<'_, 'm, T>> {
        self.raw.lock(wait, liveness)?.guard(self.guard())
    }

    /// Which incarnation is inside now: for inspection, it may have changed since.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if no honest partition stores what is there.
    pub fn owner(&self) -> Result<Option<Incarnation>, Corrupt> {
        self.raw.owner()
    }

    /// Of the mutex, which was acquired.
    fn guard(&mut self) -> Guard<'_, 'm, T> {
        Guard::new(Held::Bakery(&mut self.raw), self.data)
    }
}
