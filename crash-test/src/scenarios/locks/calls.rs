//! The calls to the locks of `shmem-sync`: the one file to change when their types do.
//!
//! A scenario says how a lock is taken and given back; which calls that is stands here. What
//! only one kind can do, such as adding permits, is in the file of its scenario.

use std::mem;

use shmem_core::mem::Window;
use shmem_registry::Kind;
use shmem_sync::{
    AcquireError, BakeryGuard, BakeryMutex, FutexBell, LockError, LockResult, Mutex, MutexGuard,
    NotHeld, Permit, ReadGuard, RwLock, Semaphore, WriteGuard,
};

use crate::kit::{
    Incarnation, LIMIT, Observer, OrViolation, Outcome, PARTITIONS, TestMemory, is_timeout,
    unexpected,
};

/// How a lock is taken and given back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Wait,
    Try,
    /// The guard is forgotten, and the lock released without it.
    Forget,
}

/// In the order of the operations that are named after them.
pub(super) const HOW: [How; 3] = [How::Wait, How::Try, How::Forget];

/// A lock that one party at a time has: a mutex, or the writing side.
pub(super) trait Lock<'m>: Sized {
    const KIND: Kind;
    type Guard<'l>: Guard
    where
        Self: 'l;

    /// Bytes of a lock that protects so many.
    fn segment_len(data: usize) -> usize;
    fn attach(memory: &TestMemory<'m>, incarnation: Incarnation) -> Outcome<Self>;
    fn lock(&mut self, how: How, observer: &mut Observer<'m>) -> LockResult<Self::Guard<'_>>;
    /// Releases what a forgotten guard held.
    fn release(&mut self) -> Result<(), NotHeld>;
}

/// Being alone inside.
pub(super) trait Guard {
    fn bytes(&self) -> Window<'_>;
    fn repaired(&mut self);
    fn unlock(self) -> Result<(), NotHeld>;
}

impl<'m> Lock<'m> for Mutex<'m, FutexBell> {
    const KIND: Kind = Kind::MUTEX;
    type Guard<'l>
        = MutexGuard<'l, 'm, FutexBell>
    where
        Self: 'l;

    fn segment_len(data: usize) -> usize {
        Self::segment_len(data)
    }

    fn attach(memory: &TestMemory<'m>, incarnation: Incarnation) -> Outcome<Self> {
        Self::attach(memory.object, incarnation, FutexBell).or_violation("attaching to the lock")
    }

    fn lock(&mut self, how: How, observer: &mut Observer<'m>) -> LockResult<Self::Guard<'_>> {
        match how {
            How::Try => self.try_lock(observer),
            _ => Self::lock(self, &mut observer.wait(LIMIT), observer),
        }
    }

    fn release(&mut self) -> Result<(), NotHeld> {
        Self::release(self)
    }
}

impl<'m> Lock<'m> for BakeryMutex<'m> {
    const KIND: Kind = Kind::BAKERY;
    type Guard<'l>
        = BakeryGuard<'l, 'm>
    where
        Self: 'l;

    fn segment_len(data: usize) -> usize {
        Self::segment_len(data)
    }

    fn attach(memory: &TestMemory<'m>, incarnation: Incarnation) -> Outcome<Self> {
        let attached = Self::attach_among(memory.object, incarnation, PARTITIONS as u8);
        attached.or_violation("attaching to the lock")
    }

    fn lock(&mut self, how: How, observer: &mut Observer<'m>) -> LockResult<Self::Guard<'_>> {
        match how {
            How::Try => self.try_lock(observer),
            _ => Self::lock(self, &mut observer.poll(LIMIT), observer),
        }
    }

    fn release(&mut self) -> Result<(), NotHeld> {
        Self::release(self)
    }
}

impl<'m> Lock<'m> for RwLock<'m, FutexBell> {
    const KIND: Kind = Kind::RWLOCK;
    type Guard<'l>
        = WriteGuard<'l, 'm, FutexBell>
    where
        Self: 'l;

    fn segment_len(data: usize) -> usize {
        Self::segment_len(data)
    }

    fn attach(memory: &TestMemory<'m>, incarnation: Incarnation) -> Outcome<Self> {
        Self::attach(memory.object, incarnation, FutexBell).or_violation("attaching to the lock")
    }

    fn lock(&mut self, how: How, observer: &mut Observer<'m>) -> LockResult<Self::Guard<'_>> {
        match how {
            How::Try => self.try_write(observer),
            _ => self.write(&mut observer.wait(LIMIT), observer),
        }
    }

    fn release(&mut self) -> Result<(), NotHeld> {
        self.release_write()
    }
}

impl Guard for MutexGuard<'_, '_, FutexBell> {
    fn bytes(&self) -> Window<'_> {
        self.data()
    }

    fn repaired(&mut self) {
        self.make_consistent();
    }

    fn unlock(self) -> Result<(), NotHeld> {
        self.unlock()
    }
}

impl Guard for BakeryGuard<'_, '_> {
    fn bytes(&self) -> Window<'_> {
        self.data()
    }

    fn repaired(&mut self) {
        self.make_consistent();
    }

    fn unlock(self) -> Result<(), NotHeld> {
        self.unlock()
    }
}

impl Guard for WriteGuard<'_, '_, FutexBell> {
    fn bytes(&self) -> Window<'_> {
        self.data()
    }

    fn repaired(&mut self) {
        self.make_consistent();
    }

    fn unlock(self) -> Result<(), NotHeld> {
        self.unlock()
    }
}

/// The reading side.
pub(super) fn read<'l, 'm>(
    lock: &'l RwLock<'m, FutexBell>,
    how: How,
    observer: &mut Observer<'m>,
) -> LockResult<ReadGuard<'l, 'm, FutexBell>> {
    match how {
        How::Try => lock.try_read(observer),
        _ => lock.read(&mut observer.wait(LIMIT), observer),
    }
}

pub(super) fn unlock_read<'m>(
    lock: &RwLock<'m, FutexBell>,
    guard: ReadGuard<'_, 'm, FutexBell>,
    how: How,
) -> Outcome {
    let unlocked = match how {
        How::Forget => lock.release_read(forget_reader(guard)),
        _ => guard.unlock(),
    };
    unlocked.or_violation("ending to read")
}

pub(super) fn read_bytes<'g>(guard: &'g ReadGuard<'_, '_, FutexBell>) -> Window<'g> {
    guard.data()
}

/// Keeps the lock. Returns the place by which it is released.
pub(super) fn forget_reader(guard: ReadGuard<'_, '_, FutexBell>) -> usize {
    let place = guard.place();
    mem::forget(guard);
    place
}

/// The semaphore of a scenario.
pub(super) fn semaphore<'m>(
    memory: &TestMemory<'m>,
    incarnation: Incarnation,
) -> Outcome<Semaphore<'m, FutexBell>> {
    let semaphore = Semaphore::attach(memory.object, incarnation, FutexBell);
    semaphore.or_violation("attaching to the semaphore")
}

pub(super) fn acquire<'s, 'm>(
    semaphore: &'s Semaphore<'m, FutexBell>,
    how: How,
    observer: &mut Observer<'m>,
) -> Result<Permit<'s, 'm, FutexBell>, AcquireError> {
    match how {
        How::Try => semaphore.try_acquire(observer),
        _ => semaphore.acquire(&mut observer.wait(LIMIT), observer),
    }
}

pub(super) fn give_back<'m>(
    semaphore: &Semaphore<'m, FutexBell>,
    permit: Permit<'_, 'm, FutexBell>,
    how: How,
) -> Outcome {
    let given = match how {
        How::Forget => {
            mem::forget(permit);
            semaphore.release()
        }
        _ => permit.release(),
    };
    given.or_violation("giving a permit back")
}

/// A lock that was granted.
pub(super) struct Locked<G> {
    pub(super) guard: G,
    /// Whether the last owner died inside.
    pub(super) owner_died: bool,
}

/// The lock; none if it is busy.
pub(super) fn locked<G>(
    memory: &TestMemory<'_>,
    result: LockResult<G>,
) -> Outcome<Option<Locked<G>>> {
    let granted = |guard, owner_died| Ok(Some(Locked { guard, owner_died }));
    match result {
        Ok(guard) => granted(guard, false),
        Err(LockError::OwnerDied(guard)) => granted(guard, true),
        Err(LockError::Busy) => Ok(None),
        Err(error) if is_timeout(&error) && memory.is_held() => Ok(None),
        Err(error) => Err(unexpected("locking", error)),
    }
}

/// The permit; none if all are held.
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
