//! What a mutex guarantees to owners and waiters, also when partitions die.
#![cfg(all(feature = "linux", target_os = "linux"))]

use std::thread;
use std::time::Instant;

use shmem_core::doorbell::NoDoorbell;
use shmem_core::mem::Heap;
use shmem_core::primitive::AtomicU32;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::{Pause, Spin, Wait};
use shmem_core::{ControlWord, Corrupt, Incarnation, Mapping, Window};
use shmem_sync::{
    health, AssumeAlive, Futex, FutexBell, Guard, Liveness, LockError, LockFailure, LockResult,
    Mutex, NotHeld, PartitionState,
};

mod support;
use support::Dead;

const FIRST: Incarnation = Incarnation::first(1);
const SECOND: Incarnation = Incarnation::first(2);
const THIRD: Incarnation = Incarnation::first(3);

fn heap() -> Heap {
    Heap::new(Mutex::<u64>::SEGMENT_LEN)
}

fn mutex(heap: &Heap, incarnation: Incarnation) -> Mutex<'_, u64> {
    Mutex::<u64>::attach(heap.window(), incarnation, &NoDoorbell).unwrap()
}

fn health(heap: &Heap) -> u32 {
    heap.window().word(4).load(Relaxed)
}

/// `incarnation` locks the mutex and dies inside.
fn die_inside(heap: &Heap, incarnation: Incarnation) {
    std::mem::forget(mutex(heap, incarnation).try_lock(&mut AssumeAlive).unwrap());
}

/// Returns the guard that comes with the warning of a death.
fn warned<'l, 'm>(taken: LockResult<Guard<'l, 'm, u64>>) -> Guard<'l, 'm, u64> {
    match taken {
        Ok(_) => panic!("no warning of the death"),
        Err(LockError::OwnerDied(guard)) => guard,
        Err(error) => panic!("{error}"),
    }
}

/// Panics if it is asked.
struct NeverAsked;

impl Liveness for NeverAsked {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        panic!("asked about {incarnation}");
    }
}

#[test]
fn a_zeroed_segment_is_a_free_mutex() {
    let heap = heap();
    let mutex = mutex(&heap, FIRST);
    assert_eq!(mutex.owner(), Ok(None));
    let mut guard = mutex.try_lock(&mut NeverAsked).unwrap();
    assert_eq!(mutex.owner(), Ok(Some(FIRST)));
    assert_eq!(guard.get(), 0);
    guard.set(7);
    guard.unlock().unwrap();
    assert_eq!(mutex.owner(), Ok(None));
    assert!(Mutex::<u64>::attach(heap.window().sub(0, 120).unwrap(), FIRST, &NoDoorbell).is_err());
}

#[test]
fn a_mutex_is_busy_until_its_guard_is_dropped() {
    let heap = heap();
    let (ours, theirs) = (mutex(&heap, FIRST), mutex(&heap, SECOND));
    let guard = ours.try_lock(&mut AssumeAlive);
    assert!(matches!(
        theirs.try_lock(&mut AssumeAlive),
        Err(LockError::Failed(LockFailure::Busy))
    ));
    drop(guard);
    assert!(theirs.try_lock(&mut AssumeAlive).is_ok());
}

#[test]
fn a_wait_with_a_passed_deadline_gets_only_a_free_mutex() {
    let heap = heap();
    let (ours, theirs) = (mutex(&heap, FIRST), mutex(&heap, SECOND));
    let past = || Futex::until(Instant::now());
    let guard = ours.lock(&mut past(), &mut AssumeAlive).unwrap();
    let late = theirs.lock(&mut past(), &mut AssumeAlive);
    assert!(matches!(
        late,
        Err(LockError::Failed(LockFailure::TimedOut))
    ));
    let late = theirs.lock(&mut Spin::checks(100), &mut AssumeAlive);
    assert!(matches!(
        late,
        Err(LockError::Failed(LockFailure::TimedOut))
    ));
    drop(guard);
}

#[test]
fn the_next_owner_is_warned_of_a_death_and_repairs() {
    let heap = heap();
    die_inside(&heap, FIRST);
    let mutex = mutex(&heap, SECOND);
    assert!(matches!(
        mutex.try_lock(&mut AssumeAlive),
        Err(LockError::Failed(LockFailure::Busy))
    ));
    let mut guard = warned(mutex.try_lock(&mut Dead(&[FIRST])));
    assert_eq!(health(&heap), SECOND.word());
    guard.make_consistent();
    guard.unlock().unwrap();
    assert!(mutex.try_lock(&mut NeverAsked).is_ok());
}

#[test]
fn a_waiter_is_warned_of_a_death() {
    let heap = heap();
    die_inside(&heap, FIRST);
    let mutex = mutex(&heap, SECOND);
    warned(mutex.lock(&mut Futex::forever(), &mut Dead(&[FIRST]))).make_consistent();
    die_inside(&heap, FIRST);
    warned(mutex.lock(&mut Spin::forever(), &mut Dead(&[FIRST]))).make_consistent();
    die_inside(&heap, FIRST);
    let mut past = Futex::until(Instant::now());
    warned(mutex.lock(&mut past, &mut Dead(&[FIRST]))).make_consistent();
}

#[test]
fn an_earlier_incarnation_of_our_partition_is_taken_over_from() {
    let heap = heap();
    die_inside(&heap, FIRST);
    let mutex = mutex(&heap, Incarnation::new(1, 2).unwrap());
    let taken = mutex.try_lock(&mut Dead(&[FIRST]));
    assert!(matches!(taken, Err(LockError::OwnerDied(_))));
}

#[test]
fn a_mutex_that_is_unlocked_without_repair_is_poisoned_permanently() {
    let heap = heap();
    die_inside(&heap, FIRST);
    let mutex = mutex(&heap, SECOND);
    drop(mutex.try_lock(&mut Dead(&[FIRST])));
    assert_eq!(health(&heap), health::POISONED);
    for _ in 0..2 {
        let taken = mutex.try_lock(&mut AssumeAlive);
        assert!(matches!(
            taken,
            Err(LockError::Failed(LockFailure::Poisoned))
        ));
        assert_eq!(mutex.owner(), Ok(None));
    }
    // Another death does not change that.
    heap.window().word(0).store(FIRST.word(), Relaxed);
    let taken = mutex.try_lock(&mut Dead(&[FIRST]));
    assert!(matches!(
        taken,
        Err(LockError::Failed(LockFailure::Poisoned))
    ));
}

#[test]
fn an_owner_that_dies_while_it_repairs_leaves_the_repair_to_the_next() {
    let heap = heap();
    die_inside(&heap, FIRST);
    let second = mutex(&heap, SECOND);
    let guard = warned(second.try_lock(&mut Dead(&[FIRST])));
    std::mem::forget(guard);
    let third = mutex(&heap, THIRD);
    let mut guard = warned(third.try_lock(&mut Dead(&[FIRST, SECOND])));
    guard.make_consistent();
    guard.unlock().unwrap();
    assert_eq!(health(&heap), health::WHOLE);
}

#[test]
fn an_evicted_owner_gets_an_error_and_changes_nothing() {
    let heap = heap();
    let (ours, theirs) = (mutex(&heap, FIRST), mutex(&heap, SECOND));
    let mut evicted = ours.try_lock(&mut AssumeAlive).unwrap();
    let guard = warned(theirs.try_lock(&mut Dead(&[FIRST])));
    evicted.make_consistent();
    assert_eq!(health(&heap), SECOND.word());
    let not_held = NotHeld {
        holder: Some(SECOND),
    };
    assert_eq!(evicted.unlock(), Err(not_held));
    assert_eq!(health(&heap), SECOND.word());
    assert_eq!(theirs.owner(), Ok(Some(SECOND)));
    drop(guard);
}

#[test]
fn a_word_that_no_honest_partition_writes_is_corrupt() {
    for (offset, value, word) in [
        (0, 1, ControlWord::MutexOwner),
        (0, Incarnation::FLAG, ControlWord::MutexOwner),
        (4, 1, ControlWord::MutexHealth),
        (4, 3, ControlWord::MutexHealth),
        (
            4,
            SECOND.word() | Incarnation::FLAG,
            ControlWord::MutexHealth,
        ),
    ] {
        let heap = heap();
        heap.window().word(offset).store(value, Relaxed);
        let mutex = mutex(&heap, FIRST);
        let taken = mutex.lock(&mut Futex::forever(), &mut AssumeAlive);
        let Err(LockError::Failed(LockFailure::Corrupt(corrupt))) = taken else {
            panic!("{word} with value {value} is accepted");
        };
        assert_eq!(corrupt, Corrupt { word, value });
        assert_eq!(heap.window().word(offset).load(Relaxed), value);
    }
}

#[test]
fn an_incarnation_never_takes_over_from_itself() {
    let heap = heap();
    let mutex = mutex(&heap, FIRST);
    let _guard = mutex.try_lock(&mut AssumeAlive).unwrap();
    assert!(matches!(
        mutex.try_lock(&mut NeverAsked),
        Err(LockError::Failed(LockFailure::Busy))
    ));
    let late = mutex.lock(&mut Futex::until(Instant::now()), &mut NeverAsked);
    assert!(matches!(
        late,
        Err(LockError::Failed(LockFailure::TimedOut))
    ));
}

/// Sleeps once, while the owner of the mutex changes, and then times out.
struct OwnerChanges<'m>(Option<Window<'m>>);

impl Wait for OwnerChanges<'_> {
    fn pause(&mut self) -> Pause {
        match self.0 {
            Some(_) => Pause::Sleep,
            None => Pause::TimedOut,
        }
    }

    fn sleep(&mut self, ring_count: &AtomicU32, seen: u32) {
        assert_eq!(seen, (FIRST.word() | Incarnation::FLAG).to_le());
        assert_eq!(ring_count.load(Relaxed), seen);
        let memory = self.0.take().expect("one sleep");
        memory.word(0).store(THIRD.word(), Relaxed);
    }
}

#[test]
fn a_waiter_that_gives_up_sets_the_flag_for_the_others() {
    let heap = heap();
    die_inside(&heap, FIRST);
    let mutex = mutex(&heap, SECOND);
    let late = mutex.lock(&mut OwnerChanges(Some(heap.window())), &mut AssumeAlive);
    assert!(matches!(
        late,
        Err(LockError::Failed(LockFailure::TimedOut))
    ));
    let owner = heap.window().word(0).load(Relaxed);
    assert_eq!(owner, THIRD.word() | Incarnation::FLAG);
}

#[test]
fn owners_of_any_partition_exclude_each_other() {
    const ROUNDS: u64 = 20_000;
    let memory = Mapping::memfd("mutex", Mutex::<u64>::SEGMENT_LEN).unwrap();
    let window = memory.window();
    thread::scope(|scope| {
        for incarnation in [FIRST, SECOND, SECOND] {
            scope.spawn(move || {
                let mutex = Mutex::<u64>::attach(window, incarnation, &FutexBell).unwrap();
                for round in 0..ROUNDS {
                    let mut wait = Futex::forever().spin_first(round as u32 % 2 * 100);
                    let mut guard = mutex.lock(&mut wait, &mut AssumeAlive).unwrap();
                    guard.update(|sum| *sum += 1);
                    guard.unlock().unwrap();
                }
            });
        }
    });
    let mut sum = [0; 8];
    window.read(128, &mut sum);
    assert_eq!(u64::from_le_bytes(sum), 3 * ROUNDS);
}
