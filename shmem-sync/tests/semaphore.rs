//! What the semaphore guarantees, also for the permits of dead partitions.
#![cfg(all(feature = "linux", target_os = "linux", not(loom)))]

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use shmem_core::crash::{self, Ended};
use shmem_core::doorbell::NoDoorbell;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::Spin;
use shmem_core::{ControlWord, Corrupt, Incarnation, Window};
use shmem_sync::layout::{PERMITS, PERMIT_FREE};
use shmem_sync::raw::RawSemaphore;
use shmem_sync::{AcquireError, AddError, AssumeAlive, Futex, FutexBell, NotHeld, Semaphore};

mod support;
use support::Dead;

const FIRST: Incarnation = Incarnation::first(1);
const SECOND: Incarnation = Incarnation::first(2);
const THIRD: Incarnation = Incarnation::first(3);

fn heap(capacity: usize) -> Heap {
    Heap::new(Semaphore::segment_len(capacity))
}

fn semaphore(heap: &Heap, incarnation: Incarnation) -> Semaphore<'_> {
    Semaphore::attach(heap.window(), incarnation, &FutexBell).unwrap()
}

/// Acquires all permits. Returns how many these were.
fn take_all(semaphore: &Semaphore<'_>, dead: &[Incarnation]) -> usize {
    let take = || semaphore.try_acquire(&mut Dead(dead)).map(mem::forget);
    std::iter::repeat_with(take)
        .take_while(Result::is_ok)
        .count()
}

#[test]
fn zeroed_memory_is_a_semaphore_without_permits() {
    let heap = heap(4);
    let semaphore = semaphore(&heap, FIRST);
    assert_eq!((semaphore.capacity(), semaphore.permits()), (4, 0));
    let refused = semaphore.try_acquire(&mut AssumeAlive).err();
    assert_eq!(refused, Some(AcquireError::Busy));
}

#[test]
fn the_segment_gives_the_capacity_up_to_a_limit() {
    let heap = heap(PERMITS + 8);
    assert_eq!(semaphore(&heap, FIRST).capacity(), PERMITS);
    semaphore(&heap, FIRST).add(PERMITS).unwrap();
    assert_eq!(semaphore(&heap, SECOND).available(), PERMITS);
    let short = heap.window().sub(0, 128).unwrap();
    assert!(Semaphore::attach(short, FIRST, &NoDoorbell).is_err());
}

#[test]
fn there_are_never_more_holders_than_permits() {
    let heap = heap(8);
    semaphore(&heap, FIRST).add(2).unwrap();
    let inside = AtomicUsize::new(0);
    thread::scope(|scope| {
        for partition in 1..=4 {
            let (heap, inside) = (&heap, &inside);
            scope.spawn(move || {
                let semaphore = semaphore(heap, Incarnation::first(partition));
                for _ in 0..2000 {
                    let permit = semaphore.acquire(&mut Futex::forever(), &mut AssumeAlive);
                    let permit = permit.unwrap();
                    assert!(inside.fetch_add(1, SeqCst) < 2);
                    inside.fetch_sub(1, SeqCst);
                    permit.release().unwrap();
                }
            });
        }
    });
    assert_eq!(semaphore(&heap, FIRST).available(), 2);
}

#[test]
fn threads_of_one_partition_share_a_handle() {
    let heap = heap(2);
    let semaphore = semaphore(&heap, FIRST);
    semaphore.add(1).unwrap();
    let inside = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    let mut wait = Futex::forever().spin_first(10);
                    let _permit = semaphore.acquire(&mut wait, &mut AssumeAlive).unwrap();
                    assert_eq!(inside.fetch_add(1, SeqCst), 0);
                    inside.fetch_sub(1, SeqCst);
                }
            });
        }
    });
    assert_eq!(semaphore.available(), 1);
}

#[test]
fn several_sleepers_are_woken_by_permits_that_are_added() {
    let heap = heap(4);
    thread::scope(|scope| {
        for partition in 2..=4 {
            let heap = &heap;
            scope.spawn(move || {
                let semaphore = semaphore(heap, Incarnation::first(partition));
                let permit = semaphore.acquire(&mut Futex::forever(), &mut AssumeAlive);
                permit.unwrap().consume().unwrap();
            });
        }
        let semaphore = semaphore(&heap, FIRST);
        semaphore.add(1).unwrap();
        semaphore.add(2).unwrap();
    });
    assert_eq!(semaphore(&heap, FIRST).permits(), 0);
}

#[test]
fn a_dropped_permit_is_released_and_a_consumed_one_ends() {
    let heap = heap(4);
    let semaphore = semaphore(&heap, FIRST);
    semaphore.add(2).unwrap();
    drop(semaphore.try_acquire(&mut AssumeAlive).unwrap());
    assert_eq!((semaphore.available(), semaphore.permits()), (2, 2));
    let permit = semaphore.try_acquire(&mut AssumeAlive).unwrap();
    assert_eq!((semaphore.available(), semaphore.permits()), (1, 2));
    permit.consume().unwrap();
    assert_eq!((semaphore.available(), semaphore.permits()), (1, 1));
}

#[test]
fn permits_without_a_guard_are_released_and_consumed_by_place() {
    let heap = heap(4);
    let ours = RawSemaphore::attach(heap.window(), FIRST, &FutexBell).unwrap();
    ours.add(3).unwrap();
    let theirs = semaphore(&heap, SECOND);
    mem::forget(theirs.try_acquire(&mut AssumeAlive).unwrap());
    let [released, consumed] = [(); 2].map(|()| ours.try_acquire(&mut AssumeAlive).unwrap());
    assert_eq!(ours.held().count(), 2);
    // SAFETY: acquired above, or known not to be held.
    let release = |place| unsafe { ours.release(place) };
    // SAFETY: as above.
    let consume = |place| unsafe { ours.consume(place) };
    release(released).unwrap();
    assert_eq!((ours.available(), ours.permits()), (1, 3));
    consume(consumed).unwrap();
    assert_eq!((ours.available(), ours.permits()), (1, 2));
    for place in [released, consumed] {
        assert_eq!(release(place), Err(NotHeld { holder: None }));
        assert_eq!(consume(place), Err(NotHeld { holder: None }));
    }
    assert_eq!(ours.held().count(), 0);
}

#[test]
fn adding_too_many_permits_changes_nothing() {
    let heap = heap(4);
    let ours = semaphore(&heap, FIRST);
    ours.add(2).unwrap();
    let held = ours.try_acquire(&mut AssumeAlive).unwrap();
    // A waiter that has slept has set the flag of every word.
    let theirs = semaphore(&heap, SECOND);
    mem::forget(theirs.try_acquire(&mut AssumeAlive).unwrap());
    let late = theirs.acquire(
        &mut Futex::timeout(Duration::from_millis(1)),
        &mut AssumeAlive,
    );
    assert_eq!(late.err(), Some(AcquireError::TimedOut));
    let before = words(heap.window());
    let overflow = AddError::Overflow {
        asked: 3,
        room: 2,
        capacity: 4,
    };
    assert_eq!(ours.add(3), Err(overflow));
    assert_eq!(words(heap.window()), before);
    held.release().unwrap();
    ours.add(2).unwrap();
    assert_eq!((ours.available(), ours.permits()), (3, 4));
    assert!(overflow.to_string().starts_with("3 permits do not fit"));
}

fn words(window: Window<'_>) -> Vec<u32> {
    let words = (128..window.len()).step_by(4);
    words.map(|at| window.word(at).load(Relaxed)).collect()
}

#[test]
fn the_permits_of_a_dead_incarnation_return() {
    let heap = heap(4);
    let dead = semaphore(&heap, SECOND);
    dead.add(3).unwrap();
    let first = dead.try_acquire(&mut AssumeAlive).unwrap();
    mem::forget(dead.try_acquire(&mut AssumeAlive).unwrap());
    let successor = semaphore(&heap, FIRST);
    assert_eq!(take_all(&successor, &[]), 1);
    assert_eq!(take_all(&successor, &[THIRD]), 0);
    assert_eq!(take_all(&successor, &[SECOND]), 2);
    // It was not dead, and gets an error.
    assert_eq!(
        first.release(),
        Err(NotHeld {
            holder: Some(FIRST)
        })
    );
    assert_eq!(successor.available(), 0);
}

#[test]
fn our_own_permits_are_never_taken_over() {
    let heap = heap(2);
    let ours = semaphore(&heap, FIRST);
    ours.add(1).unwrap();
    let _held = ours.try_acquire(&mut AssumeAlive).unwrap();
    assert_eq!(take_all(&ours, &[FIRST]), 0);
}

#[test]
fn a_waiter_takes_over_a_permit_when_its_holder_dies() {
    let heap = heap(2);
    let dead = semaphore(&heap, SECOND);
    dead.add(1).unwrap();
    mem::forget(dead.try_acquire(&mut AssumeAlive).unwrap());
    /// Reports the death at the second call.
    struct Late(u32);
    use shmem_sync::PartitionState;
    impl shmem_sync::Liveness for Late {
        fn state(&mut self, incarnation: Incarnation) -> PartitionState {
            self.0 += 1;
            PartitionState::from_is_gone(self.0 > 1 && incarnation == SECOND)
        }
    }
    let successor = semaphore(&heap, FIRST);
    let permit = successor
        .acquire(&mut Futex::forever(), &mut Late(0))
        .unwrap();
    permit.release().unwrap();
    assert_eq!(successor.available(), 1);
}

#[test]
fn a_wait_checks_once_even_if_its_deadline_has_passed() {
    let heap = heap(2);
    let semaphore = semaphore(&heap, FIRST);
    let past = Instant::now();
    let late = semaphore.acquire(&mut Futex::until(past), &mut AssumeAlive);
    assert_eq!(late.err(), Some(AcquireError::TimedOut));
    let late = semaphore.acquire(&mut Spin::checks(10), &mut AssumeAlive);
    assert_eq!(late.err(), Some(AcquireError::TimedOut));
    semaphore.add(1).unwrap();
    let permit = semaphore.acquire(&mut Futex::until(past), &mut AssumeAlive);
    assert!(permit.is_ok());
}

#[test]
fn a_word_that_is_no_permit_is_reported_where_no_permit_is_free() {
    for value in [2, 0xff, 0x1_00, Incarnation::FLAG | PERMIT_FREE] {
        let heap = heap(4);
        let semaphore = semaphore(&heap, FIRST);
        semaphore.add(2).unwrap();
        heap.window().word(128).store(value, Relaxed);
        let permit = semaphore.try_acquire(&mut AssumeAlive).unwrap();
        let corrupt = AcquireError::Corrupt(Corrupt {
            word: ControlWord::Permit,
            value,
        });
        assert_eq!(semaphore.try_acquire(&mut AssumeAlive).err(), Some(corrupt));
        let waited = semaphore.acquire(&mut Futex::forever(), &mut AssumeAlive);
        assert_eq!(waited.err(), Some(corrupt));
        permit.release().unwrap();
    }
}

#[test]
fn an_adder_that_is_no_incarnation_is_reported_where_no_permit_is_free() {
    let heap = heap(4);
    let semaphore = semaphore(&heap, FIRST);
    for value in [1, Incarnation::FLAG, SECOND.word() | Incarnation::FLAG] {
        heap.window().word(132).store(value, Relaxed);
        let corrupt = AcquireError::Corrupt(Corrupt {
            word: ControlWord::PermitAdder,
            value,
        });
        assert_eq!(semaphore.try_acquire(&mut AssumeAlive).err(), Some(corrupt));
    }
}

#[test]
fn every_call_ends_whatever_the_words_contain() {
    let mut seed = 1_u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let words = [0, PERMIT_FREE, SECOND.word(), FIRST.word(), seed];
        words[seed as usize / 256 % words.len()] ^ (seed & Incarnation::FLAG)
    };
    for _ in 0..500 {
        let heap = heap(6);
        let semaphore = semaphore(&heap, FIRST);
        for at in (0..heap.window().len()).step_by(4) {
            heap.window().word(at).store(noise(), Relaxed);
        }
        let _ = semaphore.try_acquire(&mut Dead(&[SECOND]));
        let timeout = &mut Futex::until(Instant::now());
        let _ = semaphore.acquire(timeout, &mut AssumeAlive);
        let _ = semaphore.add(3);
    }
}

/// Lets a partition die at each store of `work`, on a semaphore of four words with two permits.
/// Passes the number of permits that the others can then acquire to `check`.
fn die_everywhere(work: impl Fn(&Semaphore<'_>), check: impl Fn(usize)) {
    let attempt = |at| {
        let heap = heap(4);
        let dying = semaphore(&heap, FIRST);
        dying.add(2).unwrap();
        let ended = crash::run(at, || work(&dying));
        let successor = semaphore(&heap, SECOND);
        let taken = take_all(&successor, &[FIRST]);
        assert_eq!(successor.permits(), taken);
        check(taken);
        ended
    };
    let Ended::Finished { stores } = attempt(None) else {
        panic!("it died without a requested death");
    };
    assert!(stores > 0);
    for store in 0..stores {
        assert_eq!(attempt(Some(store)), Ended::Died);
    }
}

#[test]
fn a_holder_that_dies_at_any_store_leaves_its_permit_to_the_others() {
    let hold = |semaphore: &Semaphore<'_>| {
        let permit = semaphore.acquire(&mut Futex::forever(), &mut AssumeAlive);
        permit.unwrap().release().unwrap();
    };
    die_everywhere(hold, |taken| assert_eq!(taken, 2));
}

#[test]
fn an_adder_that_dies_at_any_store_adds_at_most_its_permits() {
    let add = |semaphore: &Semaphore<'_>| semaphore.add(2).unwrap();
    die_everywhere(add, |taken| assert!((2..=4).contains(&taken)));
    let fail = |semaphore: &Semaphore<'_>| assert!(semaphore.add(3).is_err());
    die_everywhere(fail, |taken| assert!((2..=4).contains(&taken)));
}

#[test]
fn a_sleeper_that_dies_leaves_all_permits() {
    let sleep = |semaphore: &Semaphore<'_>| {
        let permits = [(); 2].map(|()| semaphore.try_acquire(&mut AssumeAlive).unwrap());
        let mut wait = Futex::timeout(Duration::from_millis(1));
        assert!(semaphore.acquire(&mut wait, &mut AssumeAlive).is_err());
        drop(permits);
    };
    die_everywhere(sleep, |taken| assert_eq!(taken, 2));
}
