//! What a reader-writer lock guarantees to readers and writers, also when partitions die.
#![cfg(all(feature = "linux", target_os = "linux"))]

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::Instant;

use shmem_core::doorbell::NoDoorbell;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::Spin;
use shmem_core::{ControlWord, Corrupt, Incarnation, Mapping};
use shmem_sync::{
    AssumeAlive, Futex, FutexBell, LockError, LockFailure, LockResult, NotHeld, RwLock,
};

mod support;
use support::{whole, Dead};

const FIRST: Incarnation = Incarnation::first(1);
const SECOND: Incarnation = Incarnation::first(2);
const THIRD: Incarnation = Incarnation::first(3);

/// Bytes before the protected ones.
const CONTROL: usize = 128 + 512;

fn heap() -> Heap {
    Heap::new(RwLock::<[u64; 2]>::SEGMENT_LEN)
}

fn lock(heap: &Heap, incarnation: Incarnation) -> RwLock<'_, [u64; 2]> {
    RwLock::attach(heap.window(), incarnation, &NoDoorbell).unwrap()
}

fn word(heap: &Heap, offset: usize) -> u32 {
    heap.window().word(offset).load(Relaxed)
}

fn health(heap: &Heap) -> u32 {
    word(heap, 4)
}

/// `incarnation` locks for writing and dies inside.
fn die_writing(heap: &Heap, incarnation: Incarnation) {
    std::mem::forget(lock(heap, incarnation).try_write(&mut AssumeAlive).unwrap());
}

/// Returns the guard that comes with the warning of a death.
fn warned<G>(taken: LockResult<G>) -> G {
    match taken {
        Ok(_) => panic!("no warning of the death"),
        Err(LockError::OwnerDied(guard)) => guard,
        Err(error) => panic!("{error}"),
    }
}

fn is_busy<G>(taken: LockResult<G>) -> bool {
    matches!(taken, Err(LockError::Failed(LockFailure::Busy)))
}

fn is_late<G>(taken: LockResult<G>) -> bool {
    matches!(taken, Err(LockError::Failed(LockFailure::TimedOut)))
}

fn past() -> Futex {
    Futex::until(Instant::now())
}

#[test]
fn a_zeroed_segment_is_a_free_lock() {
    let heap = heap();
    let lock = lock(&heap, FIRST);
    assert_eq!((lock.writer(), lock.readers().count()), (Ok(None), 0));
    let guard = lock.try_write(&mut AssumeAlive).unwrap();
    assert_eq!((lock.writer(), guard.get()), (Ok(Some(FIRST)), [0; 2]));
    guard.unlock().unwrap();
    let guard = lock.try_read(&mut AssumeAlive).unwrap();
    assert_eq!(lock.readers().collect::<Vec<_>>(), [FIRST]);
    guard.unlock().unwrap();
    let short = heap.window().sub(0, CONTROL - 8).unwrap();
    assert!(RwLock::<[u64; 2]>::attach(short, FIRST, &NoDoorbell).is_err());
}

#[test]
fn readers_are_inside_together_and_writers_alone() {
    let heap = heap();
    let (first, second) = (lock(&heap, FIRST), lock(&heap, SECOND));
    let readers = [
        first.try_read(&mut AssumeAlive).unwrap(),
        first.try_read(&mut AssumeAlive).unwrap(),
        second.try_read(&mut AssumeAlive).unwrap(),
    ];
    assert_eq!(first.readers().count(), 3);
    assert!(is_busy(second.try_write(&mut AssumeAlive)));
    drop(readers);
    let writer = second.try_write(&mut AssumeAlive).unwrap();
    assert!(is_busy(first.try_write(&mut AssumeAlive)));
    assert!(is_busy(first.try_read(&mut AssumeAlive)));
    drop(writer);
    assert!(first.try_read(&mut AssumeAlive).is_ok());
}

#[test]
fn a_wait_with_a_passed_deadline_gets_only_a_free_lock() {
    let heap = heap();
    let (first, second) = (lock(&heap, FIRST), lock(&heap, SECOND));
    let reader = first.read(&mut past(), &mut AssumeAlive).unwrap();
    assert!(is_late(second.write(&mut past(), &mut AssumeAlive)));
    assert!(is_late(
        second.write(&mut Spin::checks(100), &mut AssumeAlive)
    ));
    // A call that timed out leaves nothing.
    assert_eq!(second.writer(), Ok(None));
    drop(reader);
    let writer = first.write(&mut past(), &mut AssumeAlive).unwrap();
    assert!(is_late(second.write(&mut past(), &mut AssumeAlive)));
    assert!(is_late(second.read(&mut past(), &mut AssumeAlive)));
    assert_eq!(second.readers().count(), 0);
    drop(writer);
}

#[test]
fn a_writer_that_waits_keeps_new_readers_out() {
    let heap = heap();
    let (first, second) = (lock(&heap, FIRST), lock(&heap, SECOND));
    let reader = first.try_read(&mut AssumeAlive).unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| second.write(&mut Spin::forever(), &mut AssumeAlive).is_ok());
        while first.writer() == Ok(None) {
            thread::yield_now();
        }
        assert!(is_busy(first.try_read(&mut AssumeAlive)));
        assert!(is_late(
            first.read(&mut Spin::checks(100), &mut AssumeAlive)
        ));
        reader.unlock().unwrap();
        assert!(writer.join().unwrap());
    });
}

#[test]
fn the_129th_reader_waits_until_one_of_128_leaves_or_dies() {
    let heap = heap();
    let (first, second) = (lock(&heap, FIRST), lock(&heap, SECOND));
    let mut readers = Vec::from_iter((0..128).map(|_| first.try_read(&mut AssumeAlive).unwrap()));
    assert!(is_busy(second.try_read(&mut AssumeAlive)));
    assert!(is_late(second.read(&mut past(), &mut AssumeAlive)));
    drop(readers.pop());
    let guard = second.try_read(&mut AssumeAlive).unwrap();
    readers.into_iter().for_each(std::mem::forget);
    assert!(is_busy(second.try_read(&mut AssumeAlive)));
    assert!(second.try_read(&mut Dead(&[FIRST])).is_ok());
    drop(guard);
    assert!(second.try_write(&mut Dead(&[FIRST])).is_ok());
    assert_eq!(second.readers().count(), 0);
}

#[test]
fn a_writer_passes_dead_readers_without_a_warning() {
    let heap = heap();
    let (first, second) = (lock(&heap, FIRST), lock(&heap, SECOND));
    for _ in 0..2 {
        std::mem::forget(first.try_read(&mut AssumeAlive).unwrap());
    }
    assert!(is_busy(second.try_write(&mut AssumeAlive)));
    let mut wait = Futex::forever();
    assert!(second.write(&mut wait, &mut Dead(&[FIRST])).is_ok());
    assert_eq!(second.readers().count(), 0);
}

#[test]
fn a_writer_that_died_while_it_waited_leaves_nothing_suspect() {
    let heap = heap();
    let (first, second) = (lock(&heap, FIRST), lock(&heap, SECOND));
    let reader = second.try_read(&mut AssumeAlive).unwrap();
    heap.window().word(0).store(FIRST.word(), Relaxed);
    assert!(is_busy(second.try_read(&mut AssumeAlive)));
    assert!(second.try_read(&mut Dead(&[FIRST])).is_ok());
    assert_eq!(second.writer(), Ok(None));
    heap.window().word(0).store(FIRST.word(), Relaxed);
    drop(reader);
    assert!(second.try_write(&mut Dead(&[FIRST])).is_ok());
    assert!(first.try_write(&mut AssumeAlive).is_ok());
}

#[test]
fn readers_are_warned_until_a_writer_has_repaired() {
    let heap = heap();
    die_writing(&heap, FIRST);
    let (second, third) = (lock(&heap, SECOND), lock(&heap, THIRD));
    let reader = warned(second.read(&mut Futex::forever(), &mut Dead(&[FIRST])));
    drop(warned(third.try_read(&mut AssumeAlive)));
    reader.unlock().unwrap();
    assert_eq!(health(&heap), SECOND.word());
    let mut writer = warned(third.try_write(&mut AssumeAlive));
    writer.make_consistent();
    writer.unlock().unwrap();
    assert!(second.try_read(&mut AssumeAlive).is_ok());
}

#[test]
fn a_lock_that_is_unlocked_without_repair_is_poisoned_permanently() {
    let heap = heap();
    die_writing(&heap, FIRST);
    let lock = lock(&heap, SECOND);
    drop(warned(
        lock.write(&mut Futex::forever(), &mut Dead(&[FIRST])),
    ));
    for _ in 0..2 {
        let read = lock.try_read(&mut AssumeAlive);
        assert!(matches!(
            read,
            Err(LockError::Failed(LockFailure::Poisoned))
        ));
        let written = lock.try_write(&mut AssumeAlive);
        assert!(matches!(
            written,
            Err(LockError::Failed(LockFailure::Poisoned))
        ));
    }
    assert_eq!((lock.writer(), lock.readers().count()), (Ok(None), 0));
}

#[test]
fn a_writer_that_gives_up_leaves_the_repair_to_the_next() {
    let heap = heap();
    die_writing(&heap, FIRST);
    let lock = lock(&heap, SECOND);
    let reader = warned(lock.try_read(&mut Dead(&[FIRST])));
    assert!(is_late(lock.write(&mut past(), &mut AssumeAlive)));
    assert_eq!(health(&heap), SECOND.word());
    drop(reader);
    warned(lock.try_write(&mut AssumeAlive)).make_consistent();
}

#[test]
fn a_late_store_of_writing_causes_a_warning() {
    let heap = heap();
    // It was treated as gone, and the lock was taken over and released, before it stored this.
    let writing = heap.window().word(8);
    writing.store(FIRST.word(), Relaxed);
    let second = lock(&heap, SECOND);
    drop(warned(second.try_read(&mut AssumeAlive)));
    assert_eq!(health(&heap), 0, "a reader changes nothing");
    let mut guard = warned(second.try_write(&mut AssumeAlive));
    guard.make_consistent();
    guard.unlock().unwrap();
    assert_eq!(writing.load(Relaxed), 0);
    assert!(second.try_write(&mut AssumeAlive).is_ok());
}

#[test]
fn evicted_holders_get_an_error_and_change_nothing() {
    let heap = heap();
    let (first, second) = (lock(&heap, FIRST), lock(&heap, SECOND));
    let evicted = first.try_read(&mut AssumeAlive).unwrap();
    let writer = second.try_write(&mut Dead(&[FIRST])).unwrap();
    assert_eq!(evicted.unlock(), Err(NotHeld { holder: None }));
    drop(writer);

    let mut evicted = first.try_write(&mut AssumeAlive).unwrap();
    let writer = warned(second.try_write(&mut Dead(&[FIRST])));
    evicted.make_consistent();
    let not_held = NotHeld {
        holder: Some(SECOND),
    };
    assert_eq!(evicted.unlock(), Err(not_held));
    assert_eq!(
        (health(&heap), word(&heap, 8)),
        (SECOND.word(), SECOND.word())
    );
    drop(writer);
}

#[test]
fn a_word_that_no_honest_partition_writes_is_corrupt() {
    for (offset, value, word) in [
        (0, 1, ControlWord::RwlockWriter),
        (0, Incarnation::FLAG, ControlWord::RwlockWriter),
        (4, 1, ControlWord::RwlockHealth),
        (
            4,
            SECOND.word() | Incarnation::FLAG,
            ControlWord::RwlockHealth,
        ),
        (128, 1, ControlWord::RwlockReader),
        (
            636,
            FIRST.word() | Incarnation::FLAG,
            ControlWord::RwlockReader,
        ),
    ] {
        let heap = heap();
        heap.window().word(offset).store(value, Relaxed);
        let lock = lock(&heap, FIRST);
        let corrupt = Corrupt { word, value };
        let written = lock.write(&mut Futex::forever(), &mut AssumeAlive);
        assert!(
            matches!(written, Err(LockError::Failed(LockFailure::Corrupt(found))) if found == corrupt)
        );
        let read = lock.read(&mut Futex::forever(), &mut AssumeAlive);
        let harmless = offset >= 128; // A reader only needs a free word.
        match read {
            Err(LockError::Failed(LockFailure::Corrupt(found))) if !harmless => {
                assert_eq!(found, corrupt)
            }
            Ok(_) if harmless => {}
            other => panic!("{word} of {value}: {:?}", other.err()),
        }
    }
}

#[test]
fn a_reader_reports_a_corrupt_word_if_no_reader_word_is_free() {
    for value in [1, FIRST.word() | Incarnation::FLAG] {
        let heap = heap();
        for at in (128..640).step_by(4) {
            heap.window().word(at).store(value, Relaxed);
        }
        let lock = lock(&heap, FIRST);
        let word = ControlWord::RwlockReader;
        for read in [
            lock.read(&mut past(), &mut AssumeAlive),
            lock.try_read(&mut AssumeAlive),
        ] {
            let corrupt = Corrupt { word, value };
            assert!(
                matches!(read, Err(LockError::Failed(LockFailure::Corrupt(found))) if found == corrupt)
            );
        }
        heap.window().word(128).store(0, Relaxed);
        assert!(lock.try_read(&mut AssumeAlive).is_ok());
    }
}

#[test]
fn no_increment_is_lost_and_readers_see_whole_values() {
    const ROUNDS: u64 = 5_000;
    let memory = Mapping::memfd("rwlock", RwLock::<[u64; 2]>::SEGMENT_LEN).unwrap();
    let attach =
        |incarnation| RwLock::<[u64; 2]>::attach(memory.window(), incarnation, &FutexBell).unwrap();
    thread::scope(|scope| {
        for incarnation in [FIRST, SECOND] {
            scope.spawn(move || {
                let lock = attach(incarnation);
                for _ in 0..ROUNDS {
                    let mut guard = lock.write(&mut Futex::forever(), &mut AssumeAlive).unwrap();
                    guard.update(|halves| *halves = [whole(*halves).unwrap() + 1; 2]);
                    guard.unlock().unwrap();
                }
            });
        }
        for incarnation in [SECOND, THIRD] {
            scope.spawn(move || {
                let lock = attach(incarnation);
                for _ in 0..ROUNDS {
                    let guard = lock.read(&mut Futex::forever(), &mut AssumeAlive).unwrap();
                    assert!(whole(guard.get()).is_some());
                    guard.unlock().unwrap();
                }
            });
        }
    });
    let lock = attach(FIRST);
    let guard = lock.try_read(&mut AssumeAlive).unwrap();
    assert_eq!(whole(guard.get()), Some(2 * ROUNDS));
}

#[test]
fn two_readers_are_inside_at_once() {
    let memory = Mapping::memfd("rwlock", RwLock::<[u64; 2]>::SEGMENT_LEN).unwrap();
    let inside = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for incarnation in [FIRST, SECOND] {
            let (memory, inside, done) = (&memory, &inside, &done);
            scope.spawn(move || {
                let lock =
                    RwLock::<[u64; 2]>::attach(memory.window(), incarnation, &FutexBell).unwrap();
                let guard = lock.read(&mut Futex::forever(), &mut AssumeAlive).unwrap();
                if inside.fetch_add(1, Relaxed) == 1 {
                    done.store(true, Relaxed);
                }
                while !done.load(Relaxed) {
                    thread::yield_now();
                }
                guard.unlock().unwrap();
            });
        }
    });
}
