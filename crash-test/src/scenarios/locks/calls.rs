//! The calls to the locks of `shmem-sync`: the only file that depends on their types.
//!
//! A scenario says how a lock is acquired and released; this file makes the calls. Calls that
//! only one kind has, such as adding permits, are in the file of its scenario.

use shmem_registry::Kind;
use shmem_sync::raw::{RawMutex, RawRwLock, RawSemaphore};
use shmem_sync::{
    AcquireError, BakeryMutex, FutexBell, Guard, LockError, LockFailure, LockResult, Mutex, Permit,
    ReadGuard, RwLock, Semaphore,
};

use crate::kit::{
    Incarnation, LIMIT, Observer, OrViolation, Outcome, PARTITIONS, TestMemory, is_timeout,
    unexpected,
};

/// The bytes that a lock protects: two numbers, each in a word of its own.
pub(super) type Numbers = [u64; 2];

/// How a lock is acquired.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Wait,
    Try,
}

/// In the order of the operations with these names.
pub(super) const HOW: [How; 2] = [How::Wait, How::Try];

/// A lock that one party holds at a time: a mutex, or the writing side.
pub(super) trait Lock<'m>: Send + Sized {
    const KIND: Kind;
    const SEGMENT_LEN: usize;

    fn attach(memory: &TestMemory<'m>, incarnation: Incarnation) -> Outcome<Self>;
    fn lock(&mut self, how: How, observer: &mut Observer<'m>)
    -> LockResult<Guard<'_, 'm, Numbers>>;
}

impl<'m> Lock<'m> for Mutex<'m, Numbers> {
    const KIND: Kind = Kind::MUTEX;
    const SEGMENT_LEN: usize = Self::SEGMENT_LEN;

    fn attach(memory: &TestMemory<'m>, incarnation: Incarnation) -> Outcome<Self> {
        Self::attach(memory.object, incarnation, &FutexBell).or_violation("attaching to the lock")
    }

    fn lock(
        &mut self,
        how: How,
        observer: &mut Observer<'m>,
    ) -> LockResult<Guard<'_, 'm, Numbers>> {
        match how {
            How::Try => self.try_lock(observer),
            How::Wait => Self::lock(self, &mut observer.wait(LIMIT), observer),
        }
    }
}

impl<'m> Lock<'m> for BakeryMutex<'m, Numbers> {
    const KIND: Kind = Kind::BAKERY;
    const SEGMENT_LEN: usize = Self::SEGMENT_LEN;

    fn attach(memory: &TestMemory<'m>, incarnation: Incarnation) -> Outcome<Self> {
        // SAFETY: the only handle of its incarnation that is used.
        let attached = unsafe { Self::attach(memory.object, incarnation, PARTITIONS as u8) };
        attached.or_violation("attaching to the lock")
    }

    fn lock(
        &mut self,
        how: How,
        observer: &mut Observer<'m>,
    ) -> LockResult<Guard<'_, 'm, Numbers>> {
        match how {
            How::Try => self.try_lock(observer),
            How::Wait => Self::lock(self, &mut observer.poll(LIMIT), observer),
        }
    }
}

impl<'m> Lock<'m> for RwLock<'m, Numbers> {
    const KIND: Kind = Kind::RWLOCK;
    const SEGMENT_LEN: usize = Self::SEGMENT_LEN;

    fn attach(memory: &TestMemory<'m>, incarnation: Incarnation) -> Outcome<Self> {
        Self::attach(memory.object, incarnation, &FutexBell).or_violation("attaching to the lock")
    }

    fn lock(
        &mut self,
        how: How,
        observer: &mut Observer<'m>,
    ) -> LockResult<Guard<'_, 'm, Numbers>> {
        match how {
            How::Try => self.try_write(observer),
            How::Wait => self.write(&mut observer.wait(LIMIT), observer),
        }
    }
}

/// Locks the reading side.
pub(super) fn read<'l, 'm>(
    lock: &'l RwLock<'m, Numbers>,
    how: How,
    observer: &mut Observer<'m>,
) -> LockResult<ReadGuard<'l, 'm, Numbers>> {
    match how {
        How::Try => lock.try_read(observer),
        How::Wait => lock.read(&mut observer.wait(LIMIT), observer),
    }
}

fn mutex<'m>(memory: &TestMemory<'m>, holder: Incarnation) -> Outcome<RawMutex<'m>> {
    let lock = RawMutex::attach(memory.object, holder, &FutexBell);
    lock.or_violation("attaching to the lock")
}

fn rwlock<'m>(memory: &TestMemory<'m>, holder: Incarnation) -> Outcome<RawRwLock<'m>> {
    let lock = RawRwLock::attach(memory.object, holder, &FutexBell);
    lock.or_violation("attaching to the lock")
}

/// Lets `holder` hold the mutex until it is released.
pub(super) fn hold_mutex(memory: &TestMemory<'_>, holder: Incarnation) -> Outcome {
    let held = mutex(memory, holder)?.try_lock(&mut Observer::listed());
    held.map(drop).or_violation("holding")
}

pub(super) fn release_mutex(memory: &TestMemory<'_>, holder: Incarnation) -> Outcome {
    // SAFETY: the lock is the holder's, which no longer uses the bytes.
    let released = unsafe { mutex(memory, holder)?.unlock() };
    released.or_violation("releasing a held lock")
}

pub(super) fn hold_writing(memory: &TestMemory<'_>, holder: Incarnation) -> Outcome {
    let held = rwlock(memory, holder)?.try_write(&mut Observer::listed());
    held.map(drop).or_violation("holding")
}

pub(super) fn release_writing(memory: &TestMemory<'_>, holder: Incarnation) -> Outcome {
    // SAFETY: as for a mutex.
    let released = unsafe { rwlock(memory, holder)?.unlock_write() };
    released.or_violation("releasing a held lock")
}

/// Returns the place for its release.
pub(super) fn hold_reading(memory: &TestMemory<'_>, holder: Incarnation) -> Outcome<usize> {
    let held = rwlock(memory, holder)?.try_read(&mut Observer::listed());
    held.map(|(_, place)| place).or_violation("holding")
}

pub(super) fn release_reading(
    memory: &TestMemory<'_>,
    holder: Incarnation,
    place: usize,
) -> Outcome {
    // SAFETY: as for a mutex.
    let released = unsafe { rwlock(memory, holder)?.unlock_read(place) };
    released.or_violation("releasing a held lock")
}

/// The semaphore of a scenario.
pub(super) fn semaphore<'m>(
    memory: &TestMemory<'m>,
    incarnation: Incarnation,
) -> Outcome<Semaphore<'m>> {
    let semaphore = Semaphore::attach(memory.object, incarnation, &FutexBell);
    semaphore.or_violation("attaching to the semaphore")
}

pub(super) fn acquire<'s, 'm>(
    semaphore: &'s Semaphore<'m>,
    how: How,
    observer: &mut Observer<'m>,
) -> Result<Permit<'s, 'm>, AcquireError> {
    match how {
        How::Try => semaphore.try_acquire(observer),
        How::Wait => semaphore.acquire(&mut observer.wait(LIMIT), observer),
    }
}

fn raw_semaphore<'m>(memory: &TestMemory<'m>, holder: Incarnation) -> Outcome<RawSemaphore<'m>> {
    let semaphore = RawSemaphore::attach(memory.object, holder, &FutexBell);
    semaphore.or_violation("attaching to the semaphore")
}

/// Lets `holder` hold `permits` permits until they are released.
pub(super) fn hold_permits(memory: &TestMemory<'_>, holder: Incarnation, permits: u32) -> Outcome {
    let semaphore = raw_semaphore(memory, holder)?;
    (0..permits).try_for_each(|_| {
        let acquired = semaphore.try_acquire(&mut Observer::listed());
        acquired.map(drop).or_violation("holding")
    })
}

pub(super) fn release_permits(memory: &TestMemory<'_>, holder: Incarnation) -> Outcome {
    let semaphore = raw_semaphore(memory, holder)?;
    semaphore.held().try_for_each(|place| {
        // SAFETY: the permit is the holder's, which has no `Permit` for it.
        let released = unsafe { semaphore.release(place) };
        released.or_violation("releasing a held permit")
    })
}

/// A lock that was acquired.
pub(super) struct Locked<G> {
    pub(super) guard: G,
    /// Whether the last owner died while it held the lock.
    pub(super) owner_died: bool,
}

/// The lock; `None` if it is busy.
pub(super) fn locked<G>(
    memory: &TestMemory<'_>,
    result: LockResult<G>,
) -> Outcome<Option<Locked<G>>> {
    let granted = |guard, owner_died| Ok(Some(Locked { guard, owner_died }));
    match result {
        Ok(guard) => granted(guard, false),
        Err(LockError::OwnerDied(guard)) => granted(guard, true),
        Err(LockError::Failed(LockFailure::Busy)) => Ok(None),
        Err(LockError::Failed(failure)) if is_timeout(&failure) && memory.is_held() => Ok(None),
        Err(LockError::Failed(failure)) => Err(unexpected("locking", failure)),
    }
}

/// The permit; `None` if all are held.
pub(super) fn acquired<P>(
    memory: &TestMemory<'_>,
    result: Result<P, AcquireError>,
) -> Outcome<Option<P>> {
    match result {
        Ok(permit) => Ok(Some(permit)),
        Err(AcquireError::Busy) => Ok(None),
        Err(error) if is_timeout(&error) && memory.is_held() => Ok(None),
        Err(error) => Err(unexpected("acquiring", error)),
    }
}
