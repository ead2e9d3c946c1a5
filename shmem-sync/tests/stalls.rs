//! A partition that is stopped at each of its stores, said to be gone, and goes on: the
//! others keep what they took over, and it is told.
#![cfg(all(feature = "linux", target_os = "linux", not(loom)))]

use std::mem::forget;

use shmem_core::crash::stall;
use shmem_core::doorbell::Silent;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::Spin;
use shmem_core::Incarnation;
use shmem_sync::raw::{RawBakeryMutex, RawSemaphore};
use shmem_sync::{
    health, AcquireError, Acquired, AddError, AssumeAlive, BakeryMutex, Barrier, BarrierError,
    Guard, LockError, LockFailure, LockResult, Mutex, NotHeld, RwLock, Semaphore,
};

mod support;
use support::{
    attach_bakery, attach_barrier, attach_raw_bakery, repair_bakery, unlock_bakery, Dead, Known,
};

/// Is stopped, and late.
const LATE: Incarnation = Incarnation::first(1);
const OTHER: Incarnation = Incarnation::first(2);
/// Died before.
const DEAD: Incarnation = Incarnation::first(3);
const LAST: Incarnation = Incarnation::first(4);

const SILENT: Known<'_> = Known {
    silent: &[LATE],
    gone: &[],
};

/// What the one that is late was about to do when it was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// To lock and unlock.
    Pass,
    /// The same, after a death inside.
    Repair,
    /// The same, but it does not repair.
    Poison,
}

fn word(heap: &Heap, at: usize) -> u32 {
    heap.window().word(at).load(Relaxed)
}

/// Who has a lock, its flag aside.
fn owner(heap: &Heap) -> u32 {
    word(heap, 0) & !Incarnation::FLAG
}

/// Whether it was had, and with what it was given back.
type Report = Option<Result<(), NotHeld>>;

/// Does `work` with a guard, if there is one.
fn report<G>(
    taken: LockResult<G>,
    repair: impl FnOnce(&mut G),
    unlock: impl FnOnce(G) -> Result<(), NotHeld>,
) -> Report {
    match taken {
        Ok(guard) => Some(unlock(guard)),
        Err(LockError::OwnerDied(mut guard)) => {
            repair(&mut guard);
            Some(unlock(guard))
        }
        Err(_) => None,
    }
}

/// The guard, and whether it came with a warning.
fn had<G>(taken: LockResult<G>) -> Option<(G, bool)> {
    match taken {
        Ok(guard) => Some((guard, false)),
        Err(LockError::OwnerDied(guard)) => Some((guard, true)),
        Err(LockError::Failed(LockFailure::Poisoned)) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Runs `attempt` with each store of its work's in turn, until there is no such store.
fn at_each_store(attempt: impl Fn(u64) -> bool) {
    let stores = (0..).take_while(|&at| attempt(at)).count();
    assert!(stores > 1);
}

fn mutex(heap: &Heap, incarnation: Incarnation) -> Mutex<'_, u64> {
    Mutex::<u64>::attach(heap.window(), incarnation, &Silent).unwrap()
}

fn pass_mutex(heap: &Heap, work: Work) -> Report {
    let mutex = mutex(heap, LATE);
    let taken = mutex.try_lock(&mut Dead(&[DEAD]));
    let repair = |guard: &mut Guard<'_, '_, u64>| {
        if work == Work::Repair {
            guard.make_consistent();
        }
    };
    report(taken, repair, |guard| guard.unlock())
}

/// Stops `work` at its store `at`, lets another take over, which repairs before the late
/// one goes on or after.
fn stall_mutex(work: Work, early: bool, at: u64) -> bool {
    let heap = Heap::new(Mutex::<u64>::SEGMENT_LEN);
    if work != Work::Pass {
        forget(mutex(&heap, DEAD).try_lock(&mut AssumeAlive).unwrap());
    }
    let (other, last) = (mutex(&heap, OTHER), mutex(&heap, LAST));
    let (mut taken, mut robbed) = (None, false);
    let meanwhile = || {
        robbed = owner(&heap) == LATE.word();
        if robbed {
            let waited = other.lock(&mut Spin::checks(9), &mut { SILENT });
            assert!(matches!(
                waited,
                Err(LockError::Failed(LockFailure::HolderSilent(LATE)))
            ));
        }
        taken = had(other.try_lock(&mut Dead(&[LATE, DEAD])));
        if let Some((guard, true)) = taken.as_mut().filter(|_| early) {
            guard.make_consistent();
        }
    };
    let (report, reached) = stall(at, || pass_mutex(&heap, work), meanwhile);
    if !reached {
        assert_eq!(report, Some(Ok(())));
        return false;
    }
    let Some((mut guard, warned)) = taken else {
        assert_eq!((work, word(&heap, 4)), (Work::Poison, health::POISONED));
        return true;
    };
    let holder = Some(OTHER);
    assert_eq!(other.owner(), Ok(holder));
    assert_eq!(report, robbed.then_some(Err(NotHeld { holder })));
    if warned && !early {
        assert_eq!(
            word(&heap, 4),
            OTHER.word(),
            "late, it calls suspect bytes whole"
        );
        guard.make_consistent();
    }
    guard.unlock().unwrap();
    // Suspicion without need is all that it can leave.
    let state = word(&heap, 4);
    assert!(
        [health::WHOLE, LATE.word()].contains(&state),
        "{work:?} at {at}: {state:#x}"
    );
    assert!(had(last.try_lock(&mut AssumeAlive)).is_some());
    true
}

#[test]
fn an_owner_that_is_late_changes_nothing_of_the_next_ones_mutex_and_is_told() {
    for work in [Work::Pass, Work::Repair, Work::Poison] {
        at_each_store(|at| stall_mutex(work, false, at));
        at_each_store(|at| stall_mutex(work, true, at));
    }
}

fn lock(heap: &Heap, incarnation: Incarnation) -> RwLock<'_, u64> {
    RwLock::<u64>::attach(heap.window(), incarnation, &Silent).unwrap()
}

const WRITING: usize = 8;

fn pass_writer(heap: &Heap, work: Work) -> Report {
    let lock = lock(heap, LATE);
    let taken = lock.try_write(&mut Dead(&[DEAD]));
    let repair = |guard: &mut Guard<'_, '_, u64>| {
        if work == Work::Repair {
            guard.make_consistent();
        }
    };
    report(taken, repair, |guard| guard.unlock())
}

fn stall_writer(work: Work, early: bool, at: u64) -> bool {
    let heap = Heap::new(RwLock::<u64>::SEGMENT_LEN);
    if work != Work::Pass {
        forget(lock(&heap, DEAD).try_write(&mut AssumeAlive).unwrap());
    }
    let (other, last) = (lock(&heap, OTHER), lock(&heap, LAST));
    let (mut taken, mut robbed) = (None, false);
    let meanwhile = || {
        robbed = owner(&heap) == LATE.word();
        if robbed {
            let waited = other.read(&mut Spin::checks(9), &mut { SILENT });
            assert!(matches!(
                waited,
                Err(LockError::Failed(LockFailure::HolderSilent(LATE)))
            ));
        }
        taken = had(other.try_write(&mut Dead(&[LATE, DEAD])));
        if let Some((guard, true)) = taken.as_mut().filter(|_| early) {
            guard.make_consistent();
        }
    };
    let (report, reached) = stall(at, || pass_writer(&heap, work), meanwhile);
    if !reached {
        assert_eq!(report, Some(Ok(())));
        return false;
    }
    let Some((mut guard, warned)) = taken else {
        assert_eq!((work, word(&heap, 4)), (Work::Poison, health::POISONED));
        return true;
    };
    let holder = Some(OTHER);
    assert_eq!(other.writer(), Ok(holder));
    assert_eq!(report, robbed.then_some(Err(NotHeld { holder })));
    assert_eq!(
        word(&heap, WRITING),
        OTHER.word(),
        "its death would be hidden"
    );
    if warned && !early {
        assert_eq!(
            word(&heap, 4),
            OTHER.word(),
            "late, it calls suspect bytes whole"
        );
        guard.make_consistent();
    }
    guard.unlock().unwrap();
    for (at, mine) in [(4, LATE), (WRITING, LATE)] {
        assert!(
            [0, mine.word()].contains(&word(&heap, at)),
            "{work:?} at {at}"
        );
    }
    assert!(had(last.try_write(&mut AssumeAlive)).is_some());
    assert_eq!(word(&heap, WRITING), 0);
    true
}

#[test]
fn a_writer_that_is_late_changes_nothing_of_the_next_ones_lock_and_is_told() {
    for work in [Work::Pass, Work::Repair, Work::Poison] {
        at_each_store(|at| stall_writer(work, false, at));
        at_each_store(|at| stall_writer(work, true, at));
    }
}

#[test]
fn a_reader_that_is_late_changes_nothing_of_a_writers_lock_and_is_told() {
    let attempt = |at, dead_writer: bool| {
        let heap = Heap::new(RwLock::<u64>::SEGMENT_LEN);
        if dead_writer {
            forget(lock(&heap, DEAD).try_write(&mut AssumeAlive).unwrap());
        }
        let other = lock(&heap, OTHER);
        let (mut taken, mut robbed) = (None, false);
        let meanwhile = || {
            robbed = word(&heap, 128) == LATE.word();
            let tidies = owner(&heap) == LATE.word();
            if robbed || tidies {
                let waited = other.write(&mut Spin::checks(9), &mut { SILENT });
                assert!(matches!(
                    waited,
                    Err(LockError::Failed(LockFailure::HolderSilent(LATE)))
                ));
            }
            taken = had(other.try_write(&mut Dead(&[LATE, DEAD])));
            if let Some((guard, true)) = &mut taken {
                guard.make_consistent();
            }
        };
        let read = || {
            let lock = lock(&heap, LATE);
            let taken = lock.try_read(&mut Dead(&[DEAD]));
            report(taken, |_| {}, |guard| guard.unlock())
        };
        let (report, reached) = stall(at, read, meanwhile);
        if !reached {
            assert_eq!(report, Some(Ok(())));
            return false;
        }
        assert!(matches!(report, None | Some(Err(NotHeld { holder: None }))));
        let (guard, _) = taken.unwrap();
        assert_eq!(word(&heap, WRITING), OTHER.word());
        guard.unlock().unwrap();
        assert_eq!(other.readers().count(), 0);
        assert!(had(other.try_write(&mut AssumeAlive)).is_some());
        true
    };
    at_each_store(|at| attempt(at, false));
    at_each_store(|at| attempt(at, true));
}

fn semaphore(heap: &Heap, incarnation: Incarnation) -> Semaphore<'_> {
    Semaphore::attach(heap.window(), incarnation, &Silent).unwrap()
}

#[test]
fn a_holder_that_is_late_makes_no_permit_of_the_one_that_was_taken_from_it() {
    let attempt = |at| {
        let heap = Heap::new(Semaphore::segment_len(4));
        let other = semaphore(&heap, OTHER);
        other.add(2).unwrap();
        let mut permits = Vec::new();
        let mut robbed = false;
        let meanwhile = || {
            robbed = (128..160)
                .step_by(8)
                .any(|at| word(&heap, at) == LATE.word());
            permits.push(other.try_acquire(&mut { SILENT }).unwrap());
            if robbed {
                let refused = other.acquire(&mut Spin::checks(9), &mut { SILENT }).err();
                assert_eq!(refused, Some(AcquireError::HolderSilent(LATE)));
            }
            permits.push(other.try_acquire(&mut Dead(&[LATE])).unwrap());
        };
        let work = || {
            let semaphore = semaphore(&heap, LATE);
            let permit = semaphore.try_acquire(&mut AssumeAlive).ok();
            permit.map(|permit| permit.release())
        };
        let (report, reached) = stall(at, work, meanwhile);
        let holder = Some(OTHER);
        match reached {
            true => assert_eq!(report, robbed.then_some(Err(NotHeld { holder }))),
            false => assert_eq!(report, Some(Ok(()))),
        }
        drop(permits);
        assert_eq!((other.available(), other.permits()), (2, 2));
        reached
    };
    at_each_store(attempt);
}

#[test]
fn an_adder_that_is_late_adds_no_permit_twice() {
    let attempt = |at| {
        let heap = Heap::new(Semaphore::segment_len(4));
        let other = semaphore(&heap, OTHER);
        let mut added = 2;
        let meanwhile = || {
            // Nobody takes the places of one that is silent.
            while other.try_acquire(&mut { SILENT }).map(forget).is_ok() {}
            let taken = |at: &usize| word(&heap, *at) != 0 || word(&heap, *at + 4) != 0;
            let taken = (128..160).step_by(8).filter(taken).count();
            assert!(other.add(5 - taken).is_err());
            while other.try_acquire(&mut Dead(&[LATE])).map(forget).is_ok() {}
            other.add(1).unwrap();
            added += 1;
        };
        let (result, reached) = stall(at, || semaphore(&heap, LATE).add(2), meanwhile);
        if !reached {
            result.unwrap();
        } else if let Err(error) = result {
            assert_eq!(error, AddError::Evicted, "at {at}");
        }
        let permits = other.permits();
        assert!(
            permits <= added && permits >= added - 1,
            "{permits} of {added} at {at}"
        );
        // All places are free for permits again.
        other.add(4 - permits).unwrap();
        reached
    };
    at_each_store(attempt);
}

#[test]
fn what_a_thread_has_reserved_is_no_permit_that_another_gives_back() {
    for consume in [false, true] {
        at_each_store(|at| {
            let heap = Heap::new(Semaphore::segment_len(4));
            let ours = RawSemaphore::attach(heap.window(), LATE, &Silent).unwrap();
            let end = || {
                assert_eq!(ours.held().count(), 0);
                for place in 0..ours.capacity() {
                    let ended = match consume {
                        // SAFETY: this incarnation holds none.
                        true => unsafe { ours.consume(place) },
                        // SAFETY: as above.
                        false => unsafe { ours.release(place) },
                    };
                    ended.unwrap_err();
                }
            };
            let (added, reached) = stall(at, || semaphore(&heap, LATE).add(2), end);
            added.unwrap();
            assert_eq!((ours.available(), ours.permits()), (2, 2));
            reached
        });
    }
}

fn next(incarnation: Incarnation) -> Incarnation {
    Incarnation::after(incarnation.partition(), incarnation.number()).unwrap()
}

#[test]
fn a_party_that_is_late_is_told_and_its_next_incarnation_meets_the_others() {
    at_each_store(|at| {
        let heap = Heap::new(Barrier::segment_len(2));
        let party = |incarnation| attach_barrier(heap.window(), incarnation, 2, &Silent);
        let (mut other, mut later) = (party(OTHER), party(next(LATE)));
        assert_eq!(other.try_wait(&mut AssumeAlive), Ok(None));
        let meanwhile = || {
            let waited = other.try_wait(&mut { SILENT }).unwrap();
            let arrived = later.try_wait(&mut AssumeAlive).unwrap();
            assert!(waited.or(arrived).is_some());
        };
        let mut late = party(LATE);
        let (arrived, reached) = stall(at, || late.try_wait(&mut AssumeAlive), meanwhile);
        if !reached {
            assert!(arrived.unwrap().is_some());
            return false;
        }
        // It may have come first in the entry once more: the next look puts that right.
        for _ in 0..3 {
            let _ = later.try_wait(&mut AssumeAlive).unwrap();
            let _ = other.try_wait(&mut AssumeAlive).unwrap();
        }
        assert_eq!(late.try_wait(&mut AssumeAlive), Err(BarrierError::Evicted));
        let (one, two) = (
            later.try_wait(&mut AssumeAlive),
            other.try_wait(&mut AssumeAlive),
        );
        assert!(one.unwrap().is_some() || two.unwrap().is_some());
        true
    });
}

fn bakery(heap: &Heap, incarnation: Incarnation) -> BakeryMutex<'_, u64> {
    attach_bakery::<u64>(heap.window(), incarnation, 4)
}

fn raw_bakery(heap: &Heap, incarnation: Incarnation) -> RawBakeryMutex<'_> {
    attach_raw_bakery(heap.window(), incarnation, 4)
}

#[test]
fn an_owner_of_a_bakery_that_is_late_is_told_and_the_others_go_on() {
    for work in [Work::Pass, Work::Repair, Work::Poison] {
        at_each_store(|at| {
            let heap = Heap::new(BakeryMutex::<u64>::SEGMENT_LEN);
            if work != Work::Pass {
                forget(bakery(&heap, DEAD).try_lock(&mut AssumeAlive).unwrap());
            }
            let (mut late, mut other) = (bakery(&heap, LATE), raw_bakery(&heap, OTHER));
            let (mut went_in, mut robbed) = (false, false);
            let meanwhile = || {
                robbed = word(&heap, 0) == LATE.word();
                if robbed {
                    let waited = other.lock(&mut Spin::checks(9), &mut { SILENT });
                    assert_eq!(waited, Err(LockFailure::HolderSilent(LATE)));
                }
                match other.try_lock(&mut Dead(&[LATE, DEAD])) {
                    Ok(_) => {
                        went_in = true;
                        let _ = repair_bakery(&mut other);
                    }
                    Err(failure) => assert_eq!(failure, LockFailure::Poisoned),
                }
            };
            let pass = || {
                let taken = late.try_lock(&mut Dead(&[DEAD]));
                let repair = |guard: &mut Guard<'_, '_, u64>| {
                    if work == Work::Repair {
                        guard.make_consistent();
                    }
                };
                report(taken, repair, |guard| guard.unlock())
            };
            let (report, reached) = stall(at, pass, meanwhile);
            if !reached {
                assert_eq!(report, Some(Ok(())));
                return false;
            }
            // One store may come late (the table in its module's docs): no lock is lost by it.
            if went_in && word(&heap, 0) == OTHER.word() {
                let told = NotHeld {
                    holder: Some(OTHER),
                };
                assert!(!robbed || report == Some(Err(told)), "{report:?} at {at}");
                unlock_bakery(&mut other).unwrap();
            } else if went_in {
                let _ = unlock_bakery(&mut other);
            }
            let mut last = bakery(&heap, LAST);
            let taken = last.lock(&mut Spin::checks(99), &mut Dead(&[LATE, DEAD]));
            assert!(
                had(taken).is_some() || work == Work::Poison,
                "{work:?} at {at}"
            );
            true
        });
    }
}

#[test]
fn one_whose_next_incarnation_uses_a_bakery_is_told_and_stores_nothing() {
    let heap = Heap::new(BakeryMutex::<u64>::SEGMENT_LEN);
    let mut late = raw_bakery(&heap, LATE);
    assert_eq!(late.try_lock(&mut AssumeAlive), Ok(Acquired::Clean));
    let mut later = bakery(&heap, next(LATE));
    let Err(LockError::OwnerDied(mut guard)) = later.try_lock(&mut AssumeAlive) else {
        panic!("no word of the death");
    };
    guard.make_consistent();
    let words = || {
        (0..640)
            .step_by(4)
            .map(|at| word(&heap, at))
            .collect::<Vec<_>>()
    };
    let before = words();
    let holder = Some(next(LATE));
    assert_eq!(repair_bakery(&mut late), Err(NotHeld { holder }));
    assert_eq!(unlock_bakery(&mut late), Err(NotHeld { holder }));
    let refused = late.lock(&mut Spin::checks(9), &mut AssumeAlive);
    assert_eq!(refused, Err(LockFailure::Evicted));
    assert!(words() == before);
    guard.unlock().unwrap();
}
