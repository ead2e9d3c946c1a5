//! Models of the reader-writer lock: which partitions are inside together, that no partition sleeps
//! permanently, and what dead partitions leave.
//!
//! The protected bytes are loom's plain cells. Loom reports a race if a reader is inside with a
//! writer, or does not see the work of the last one.
#![cfg(loom)]

use loom::sync::atomic::AtomicU32;
use loom::sync::Arc;
use loom::thread;
use shmem_core::doorbell::NoDoorbell;
use shmem_core::primitive::Ordering::{Acquire, Relaxed};
use shmem_core::wait::Wait;
use shmem_core::{Incarnation, Window};
use shmem_sync::raw::{DoorbellRef, RawRwLock};
use shmem_sync::{AssumeAlive, LockError, LockFailure, RwLock};

mod support;
use support::{add_one, count, heap, yield_until, Dead, DeathNotice, FutexModel, Yield};

const FIRST: Incarnation = Incarnation::first(1);
const SECOND: Incarnation = Incarnation::first(2);
const THIRD: Incarnation = Incarnation::first(3);

fn memory() -> Window<'static> {
    heap(RawRwLock::segment_len(8))
}

fn lock<'m>(
    memory: Window<'m>,
    incarnation: Incarnation,
    bell: DoorbellRef<'m>,
) -> RwLock<'m, [u8]> {
    RwLock::attach(memory, incarnation, bell).unwrap()
}

fn write(lock: &RwLock<'_, [u8]>, wait: &mut impl Wait) {
    let mut guard = lock.write(wait, &mut AssumeAlive).unwrap();
    add_one(&mut guard);
    guard.unlock().unwrap();
}

fn read(lock: &RwLock<'_, [u8]>, wait: &mut impl Wait) -> u8 {
    let guard = lock.read(wait, &mut AssumeAlive).unwrap();
    let seen = count(guard.window());
    guard.unlock().unwrap();
    seen
}

#[test] // Kills: the fences in `check_for_writer` and `enter_as_writer`; Acquire in
        // `load_acquire` and `drain`, Release in `release_reader`.
fn a_reader_and_a_writer_exclude_each_other() {
    loom::model(|| {
        let memory = memory();
        let peer = thread::spawn(move || write(&lock(memory, SECOND, &NoDoorbell), &mut Yield));
        let lock = lock(memory, FIRST, &NoDoorbell);
        let before = read(&lock, &mut Yield);
        let after = read(&lock, &mut Yield);
        assert!(before <= after && after <= 1);
        peer.join().unwrap();
        assert_eq!(read(&lock, &mut Yield), 1);
    });
}

#[test]
fn writers_exclude_each_other() {
    loom::model(|| {
        let memory = memory();
        let peer = thread::spawn(move || write(&lock(memory, SECOND, &NoDoorbell), &mut Yield));
        let lock = lock(memory, FIRST, &NoDoorbell);
        write(&lock, &mut Yield);
        peer.join().unwrap();
        assert_eq!(read(&lock, &mut Yield), 2);
    });
}

#[test] // Kills: the fences in `release_reader` and `enter_as_writer`; a withdrawal without a ring.
fn a_reader_and_a_writer_that_sleep_for_each_other_are_woken() {
    loom::model(|| {
        let (memory, kernel) = (memory(), FutexModel::new());
        let theirs = kernel.clone();
        let peer = thread::spawn(move || {
            write(&lock(memory, SECOND, &theirs), &mut theirs.clone());
        });
        read(&lock(memory, FIRST, &kernel), &mut kernel.clone());
        peer.join().unwrap();
    });
}

#[test]
fn all_sleepers_for_a_writer_are_woken() {
    loom::model(|| {
        let (memory, kernel) = (memory(), FutexModel::new());
        let writer = lock(memory, THIRD, &kernel);
        let guard = writer.write(&mut kernel.clone(), &mut AssumeAlive).unwrap();
        let threads = [FIRST, SECOND].map(|incarnation| {
            let theirs = kernel.clone();
            thread::spawn(move || {
                read(&lock(memory, incarnation, &theirs), &mut theirs.clone());
            })
        });
        guard.unlock().unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test] // Kills: a writer that gives up and does not ring.
fn a_reader_that_sleeps_for_a_writer_that_gives_up_is_woken() {
    loom::model(|| {
        let (memory, kernel) = (memory(), FutexModel::new());
        let reader = lock(memory, THIRD, &kernel);
        let guard = reader.try_read(&mut AssumeAlive).unwrap();
        let theirs = kernel.clone();
        let peer = thread::spawn(move || {
            read(&lock(memory, FIRST, &theirs), &mut theirs.clone());
        });
        let writer = lock(memory, SECOND, &kernel);
        let taken = writer.try_write(&mut AssumeAlive);
        assert!(matches!(taken, Err(LockError::Failed(LockFailure::Busy))));
        peer.join().unwrap();
        guard.unlock().unwrap();
    });
}

#[test]
fn a_writer_does_not_wait_for_a_dead_reader() {
    loom::model(|| {
        let (memory, notice) = (memory(), DeathNotice::new());
        let announced = notice.clone();
        let peer = thread::spawn(move || {
            let lock = lock(memory, SECOND, &NoDoorbell);
            let guard = lock.read(&mut Yield, &mut AssumeAlive).unwrap();
            let seen = count(guard.window());
            core::mem::forget(guard);
            announced.announce(SECOND);
            seen
        });
        let lock = lock(memory, FIRST, &NoDoorbell);
        let mut guard = lock.write(&mut Yield, &mut notice.clone()).unwrap();
        add_one(&mut guard);
        guard.unlock().unwrap();
        assert!(peer.join().unwrap() <= 1);
    });
}

#[test]
fn readers_of_one_partition_and_a_writer_exclude_each_other() {
    loom::model(|| {
        let memory = memory();
        let ours = lock(memory, FIRST, &NoDoorbell);
        let guard = ours.try_read(&mut AssumeAlive).unwrap();
        let threads = [
            thread::spawn(move || write(&lock(memory, SECOND, &NoDoorbell), &mut Yield)),
            thread::spawn(move || {
                // At the same reader word, or at the next one.
                if let Ok(guard) = lock(memory, FIRST, &NoDoorbell).try_read(&mut AssumeAlive) {
                    assert!(count(guard.window()) <= 1);
                }
            }),
        ];
        assert_eq!(count(guard.window()), 0);
        guard.unlock().unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(read(&ours, &mut Yield), 1);
    });
}

#[test]
fn a_reader_after_a_writer_that_died_inside_is_warned() {
    loom::model(|| {
        let (memory, notice) = (memory(), DeathNotice::new());
        let announced = notice.clone();
        let peer = thread::spawn(move || {
            let lock = lock(memory, SECOND, &NoDoorbell);
            let mut guard = lock.write(&mut Yield, &mut AssumeAlive).unwrap();
            add_one(&mut guard);
            core::mem::forget(guard);
            announced.announce(SECOND);
        });
        let lock = lock(memory, FIRST, &NoDoorbell);
        let seen = match lock.read(&mut Yield, &mut notice.clone()) {
            Ok(guard) => (false, count(guard.window())),
            Err(LockError::OwnerDied(guard)) => (true, count(guard.window())),
            Err(error) => panic!("{error}"),
        };
        assert!(seen == (false, 0) || seen == (true, 1));
        peer.join().unwrap();
    });
}

#[test] // Kills: fence in `enter_as_writer` after `writing`; Release in `clear_writing`.
fn only_a_writer_that_dies_inside_leaves_suspect_bytes() {
    loom::model(|| {
        let memory = memory();
        let inside = Arc::new(AtomicU32::new(0));
        let entered = inside.clone();
        // It dies at any moment from here on; what it still does has no effect.
        let peer = thread::spawn(move || {
            let lock = lock(memory, SECOND, &NoDoorbell);
            let mut guard = lock.write(&mut Yield, &mut AssumeAlive).unwrap();
            entered.store(1, Relaxed);
            add_one(&mut guard);
            let _ = guard.unlock();
        });
        yield_until(|| inside.load(Acquire) == 1);
        let lock = lock(memory, FIRST, &NoDoorbell);
        match lock.try_write(&mut Dead(&[SECOND])) {
            Ok(mut guard) => assert_eq!(add_one(&mut guard), 1),
            Err(LockError::OwnerDied(guard)) => core::mem::forget(guard),
            Err(error) => panic!("{error}"),
        }
        peer.join().unwrap();
    });
}

#[test]
fn readers_after_a_dead_writer_recover_the_lock() {
    loom::model(|| {
        let memory = memory();
        core::mem::forget(lock(memory, THIRD, &NoDoorbell).try_write(&mut AssumeAlive));
        let read_after_death = move |incarnation| {
            let lock = lock(memory, incarnation, &NoDoorbell);
            let is_warned = matches!(
                lock.read(&mut Yield, &mut Dead(&[THIRD])),
                Err(LockError::OwnerDied(_))
            );
            assert!(is_warned, "{incarnation} was not warned");
        };
        let peer = thread::spawn(move || read_after_death(SECOND));
        read_after_death(FIRST);
        peer.join().unwrap();
        assert_eq!(lock(memory, FIRST, &NoDoorbell).writer(), Ok(None));
    });
}

#[test] // Kills: Acquire in `recover_dead_writer`, Release in `clear_writing`.
fn a_reader_that_dies_while_it_recovers_the_lock_hides_no_death() {
    loom::model(|| {
        let memory = memory();
        core::mem::forget(lock(memory, THIRD, &NoDoorbell).try_write(&mut AssumeAlive));
        // Not in this thread: after a yield loom gives a thread no old value of a word that it has
        // loaded.
        let peer = thread::spawn(move || {
            let lock = lock(memory, FIRST, &NoDoorbell);
            yield_until(|| lock.writer() != Ok(Some(THIRD)));
            let taken = lock.try_write(&mut Dead(&[SECOND]));
            assert!(matches!(taken, Err(LockError::OwnerDied(_))));
            core::mem::forget(taken);
        });
        // It dies at any moment; what it still does has no effect.
        let lock = lock(memory, SECOND, &NoDoorbell);
        core::mem::forget(lock.try_read(&mut Dead(&[THIRD])));
        peer.join().unwrap();
    });
}
