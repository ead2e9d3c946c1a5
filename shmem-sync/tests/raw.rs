//! What raw locks report to callers that have no guard.
#![cfg(not(loom))]

use std::cell::Cell;

use shmem_core::doorbell::{Doorbell, NoDoorbell};
use shmem_core::mem::Heap;
use shmem_core::primitive::AtomicU32;
use shmem_core::wait::{Pause, Wait};
use shmem_core::Incarnation;
use shmem_sync::inspect::{Health, MutexWords, RwLockWords};
use shmem_sync::raw::{RawMutex, RawRwLock};
use shmem_sync::{Acquired, AssumeAlive, LockFailure, NotHeld};

mod support;
use support::Dead;

const FIRST: Incarnation = Incarnation::first(1);
const SECOND: Incarnation = Incarnation::first(2);
const NOT_HELD: Result<(), NotHeld> = Err(NotHeld { holder: None });
const HELD_BY_FIRST: Result<(), NotHeld> = Err(NotHeld {
    holder: Some(FIRST),
});

fn unlock(mutex: &RawMutex<'_>) -> Result<(), NotHeld> {
    // SAFETY: nothing in these tests uses the bytes.
    unsafe { mutex.unlock() }
}

fn repair(mutex: &RawMutex<'_>) -> Result<(), NotHeld> {
    // SAFETY: as for `unlock`.
    unsafe { mutex.make_consistent() }
}

fn unlock_read(lock: &RawRwLock<'_>, place: usize) -> Result<(), NotHeld> {
    // SAFETY: as for `unlock`.
    unsafe { lock.unlock_read(place) }
}

fn unlock_write(lock: &RawRwLock<'_>) -> Result<(), NotHeld> {
    // SAFETY: as for `unlock`.
    unsafe { lock.unlock_write() }
}

fn repair_written(lock: &RawRwLock<'_>) -> Result<(), NotHeld> {
    // SAFETY: as for `unlock`.
    unsafe { lock.make_consistent() }
}

#[test]
fn a_partition_that_does_not_hold_a_mutex_cannot_unlock_it() {
    let heap = Heap::new(RawMutex::segment_len(0));
    let mutex = |incarnation| RawMutex::attach(heap.window(), incarnation, &NoDoorbell).unwrap();
    let (ours, theirs) = (mutex(FIRST), mutex(SECOND));
    assert_eq!(unlock(&theirs), NOT_HELD);
    assert_eq!(ours.try_lock(&mut AssumeAlive), Ok(Acquired::Clean));
    assert_eq!(
        (unlock(&theirs), repair(&theirs)),
        (HELD_BY_FIRST, HELD_BY_FIRST)
    );
    assert_eq!(ours.owner(), Ok(Some(FIRST)));
    unlock(&ours).unwrap();
}

#[test]
fn a_partition_that_does_not_hold_a_reader_writer_lock_cannot_unlock_it() {
    let heap = Heap::new(RawRwLock::segment_len(0));
    let lock = |incarnation| RawRwLock::attach(heap.window(), incarnation, &NoDoorbell).unwrap();
    let (ours, theirs) = (lock(FIRST), lock(SECOND));
    assert_eq!(
        (unlock_write(&theirs), unlock_read(&theirs, 0)),
        (NOT_HELD, NOT_HELD)
    );
    assert_eq!(unlock_read(&theirs, 128), NOT_HELD);
    let (_, place) = ours.try_read(&mut AssumeAlive).unwrap();
    assert_eq!(unlock_read(&theirs, place), HELD_BY_FIRST);
    assert_eq!(ours.readers().count(), 1);
    unlock_read(&ours, place).unwrap();
    assert_eq!(ours.try_write(&mut AssumeAlive), Ok(Acquired::Clean));
    let refused = (unlock_write(&theirs), repair_written(&theirs));
    assert_eq!(refused, (HELD_BY_FIRST, HELD_BY_FIRST));
    unlock_write(&ours).unwrap();
}

#[test]
fn a_lock_that_is_unlocked_without_repair_after_a_death_is_poisoned() {
    for (is_repaired, left) in [(true, Health::Whole), (false, Health::Poisoned)] {
        let after = match is_repaired {
            true => Ok(Acquired::Clean),
            false => Err(LockFailure::Poisoned),
        };
        let heap = Heap::new(RawMutex::segment_len(0));
        let mutex =
            |incarnation| RawMutex::attach(heap.window(), incarnation, &NoDoorbell).unwrap();
        let _ = mutex(FIRST).try_lock(&mut AssumeAlive);
        let ours = mutex(SECOND);
        let taken = ours.try_lock(&mut Dead(&[FIRST]));
        assert_eq!(taken, Ok(Acquired::OwnerDied));
        if is_repaired {
            repair(&ours).unwrap();
        }
        unlock(&ours).unwrap();
        assert_eq!(MutexWords::attach(heap.window()).unwrap().health(), left);
        assert_eq!(ours.try_lock(&mut AssumeAlive), after);

        let heap = Heap::new(RawRwLock::segment_len(0));
        let lock =
            |incarnation| RawRwLock::attach(heap.window(), incarnation, &NoDoorbell).unwrap();
        let _ = lock(FIRST).try_write(&mut AssumeAlive);
        let ours = lock(SECOND);
        let taken = ours.try_write(&mut Dead(&[FIRST]));
        assert_eq!(taken, Ok(Acquired::OwnerDied));
        if is_repaired {
            repair_written(&ours).unwrap();
        }
        unlock_write(&ours).unwrap();
        assert_eq!(RwLockWords::attach(heap.window()).unwrap().health(), left);
        assert_eq!(ours.try_write(&mut AssumeAlive), after);
    }
}

/// Counts its rings.
#[derive(Default)]
struct Counter(std::sync::atomic::AtomicUsize);

impl Doorbell for Counter {
    fn ring(&self, _: &AtomicU32) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Sleeps once, for no time, and then times out.
struct OneSleep(Cell<bool>);

impl Wait for OneSleep {
    fn pause(&mut self) -> Pause {
        match self.0.replace(true) {
            false => Pause::Sleep,
            true => Pause::TimedOut,
        }
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {}
}

#[test]
fn unlocking_rings_the_bell_that_was_set_last_if_a_partition_sleeps() {
    let (heap, early, late) = (
        Heap::new(RawMutex::segment_len(0)),
        Counter::default(),
        Counter::default(),
    );
    let mut ours = RawMutex::attach(heap.window(), FIRST, &early).unwrap();
    let theirs = RawMutex::attach(heap.window(), SECOND, &early).unwrap();
    let _ = ours.try_lock(&mut AssumeAlive);
    unlock(&ours).unwrap();
    let _ = ours.try_lock(&mut AssumeAlive);
    let waited = theirs.lock(&mut OneSleep(Cell::new(false)), &mut AssumeAlive);
    assert_eq!(waited, Err(LockFailure::TimedOut));
    ours.set_bell(&late);
    unlock(&ours).unwrap();
    assert_eq!((early.0.into_inner(), late.0.into_inner()), (0, 1));
}
