//! Death at each store of a lock: the others find whole bytes, or are warned.
#![cfg(all(feature = "linux", target_os = "linux"))]

use shmem_core::crash::{self, Ended};
use shmem_core::doorbell::NoDoorbell;
use shmem_core::mem::Heap;
use shmem_core::{Incarnation, Window};
use shmem_sync::{AssumeAlive, LockError, LockResult, Mutex, ReadGuard, RwLock};

mod support;
use support::{whole, Dead};

const FIRST: Incarnation = Incarnation::first(1);
const SECOND: Incarnation = Incarnation::first(2);
const THIRD: Incarnation = Incarnation::first(3);

/// Lets a partition die at each store of `work`, on memory that `prepare` has made, and calls
/// `check` each time.
fn die_everywhere(prepare: impl Fn() -> Heap, work: impl Fn(&Heap), check: impl Fn(&Heap)) {
    let attempt = |at| {
        let heap = prepare();
        let ended = crash::run(at, || work(&heap));
        check(&heap);
        ended
    };
    let Ended::Finished { stores } = attempt(None) else {
        panic!("it died without a requested death");
    };
    assert!(stores > 1);
    for store in 0..stores {
        assert_eq!(attempt(Some(store)), Ended::Died);
    }
}

fn write_half(data: Window<'_>) {
    data.write(0, &[1]);
}

fn mutex(heap: &Heap, incarnation: Incarnation) -> Mutex<'_, [u64; 2]> {
    Mutex::attach(heap.window(), incarnation, &NoDoorbell).unwrap()
}

fn mutex_heap() -> Heap {
    Heap::new(Mutex::<[u64; 2]>::SEGMENT_LEN)
}

/// Locks the mutex, finds whole bytes or is warned, and leaves them whole.
fn lock_mutex(heap: &Heap, incarnation: Incarnation, dead: &[Incarnation]) {
    let mutex = mutex(heap, incarnation);
    let (warned, mut guard) = match mutex.try_lock(&mut Dead(dead)) {
        Ok(guard) => (false, guard),
        Err(LockError::OwnerDied(guard)) => (true, guard),
        Err(error) => panic!("{error}"),
    };
    assert!(warned || whole(guard.get()).is_some());
    guard.set([7; 2]);
    guard.make_consistent();
    guard.unlock().unwrap();
}

fn check_mutex(heap: &Heap) {
    lock_mutex(heap, THIRD, &[FIRST, SECOND]);
    let mutex = mutex(heap, FIRST);
    assert!(whole(mutex.try_lock(&mut AssumeAlive).unwrap().get()).is_some());
}

#[test]
fn after_an_owner_dies_the_next_one_finds_whole_bytes_or_is_warned() {
    die_everywhere(
        mutex_heap,
        |heap| lock_mutex(heap, SECOND, &[]),
        check_mutex,
    );
}

#[test]
fn after_an_owner_dies_while_it_repairs_the_next_one_repairs() {
    let half_written = || {
        let heap = mutex_heap();
        let mutex = mutex(&heap, FIRST);
        let mut guard = mutex.try_lock(&mut AssumeAlive).unwrap();
        write_half(guard.window());
        std::mem::forget(guard);
        heap
    };
    die_everywhere(
        half_written,
        |heap| lock_mutex(heap, SECOND, &[FIRST]),
        check_mutex,
    );
}

fn lock(heap: &Heap, incarnation: Incarnation) -> RwLock<'_, [u64; 2]> {
    RwLock::attach(heap.window(), incarnation, &NoDoorbell).unwrap()
}

fn lock_heap() -> Heap {
    Heap::new(RwLock::<[u64; 2]>::SEGMENT_LEN)
}

fn read(heap: &Heap, incarnation: Incarnation, dead: &[Incarnation]) {
    let check = |taken: LockResult<ReadGuard<'_, '_, [u64; 2]>>| match taken {
        Ok(guard) => assert!(whole(guard.get()).is_some()),
        Err(LockError::OwnerDied(_)) => {}
        Err(error) => panic!("{error}"),
    };
    check(lock(heap, incarnation).try_read(&mut Dead(dead)));
}

/// Locks for writing, finds whole bytes or is warned, and leaves them whole.
fn write(heap: &Heap, incarnation: Incarnation, dead: &[Incarnation]) {
    let lock = lock(heap, incarnation);
    let (warned, mut guard) = match lock.try_write(&mut Dead(dead)) {
        Ok(guard) => (false, guard),
        Err(LockError::OwnerDied(guard)) => (true, guard),
        Err(error) => panic!("{error}"),
    };
    assert!(warned || whole(guard.get()).is_some());
    guard.set([7; 2]);
    guard.make_consistent();
    guard.unlock().unwrap();
}

fn check_lock(heap: &Heap) {
    read(heap, THIRD, &[FIRST, SECOND]);
    write(heap, THIRD, &[FIRST, SECOND]);
    let lock = lock(heap, FIRST);
    assert!(whole(lock.try_read(&mut AssumeAlive).unwrap().get()).is_some());
}

#[test]
fn after_a_writer_dies_the_others_find_whole_bytes_or_are_warned() {
    die_everywhere(lock_heap, |heap| write(heap, SECOND, &[]), check_lock);
}

#[test]
fn after_a_reader_dies_the_others_continue() {
    die_everywhere(lock_heap, |heap| read(heap, SECOND, &[]), check_lock);
}

/// Returns a lock whose writer died while it held the lock.
fn half_written_lock() -> Heap {
    let heap = lock_heap();
    let lock = lock(&heap, FIRST);
    let mut guard = lock.try_write(&mut AssumeAlive).unwrap();
    write_half(guard.window());
    std::mem::forget(guard);
    heap
}

#[test]
fn after_a_reader_dies_while_it_recovers_a_lock_the_next_one_recovers_it() {
    let recover = |heap: &Heap| read(heap, SECOND, &[FIRST]);
    die_everywhere(half_written_lock, recover, check_lock);
}

#[test]
fn after_a_writer_dies_while_it_repairs_the_next_one_repairs() {
    let repair = |heap: &Heap| write(heap, SECOND, &[FIRST]);
    die_everywhere(half_written_lock, repair, check_lock);
}
