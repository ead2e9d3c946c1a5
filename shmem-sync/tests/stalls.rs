//! A partition is stopped at each of its stores, treated as gone, and continues. The others keep
//! what they took over, and the late partition gets an error.
#![cfg(all(feature = "linux", target_os = "linux", not(loom)))]

use std::mem::forget;

use shmem_core::crash::stall;
use shmem_core::doorbell::NoDoorbell;
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

/// The partition that is stopped and continues late.
const LATE: Incarnation = Incarnation::first(1);
const OTHER: Incarnation = Incarnation::first(2);
/// A partition that died before.
const DEAD: Incarnation = Incarnation::first(3);
const LAST: Incarnation = Incarnation::first(4);

const SILENT: Known<'_> = Known {
    silent: &[LATE],
    gone: &[],
};

/// What the late partition does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Locks and unlocks.
    Pass,
    /// The same, after a death inside, with a repair.
    Repair,
    /// The same, after a death inside, without a repair.
    Poison,
}

fn word(heap: &Heap, at: usize) -> u32 {
    heap.window().word(at).load(Relaxed)
}

/// Returns the owner word of a lock without its flag.
fn owner(heap: &Heap) -> u32 {
    word(heap, 0) & !Incarnation::FLAG
}

/// The result of the unlock; `None` if the lock was not acquired.
type Report = Option<Result<(), NotHeld>>;

/// Repairs and unlocks with a guard, if there is one.
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

/// Returns the guard, and true if it came with a warning; `None` if the lock is poisoned.
fn guard_and_warning<G>(taken: LockResult<G>) -> Option<(G, bool)> {
    match taken {
        Ok(guard) => Some((guard, false)),
        Err(LockError::OwnerDied(guard)) => Some((guard, true)),
        Err(LockError::Failed(LockFailure::Poisoned)) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Calls `attempt` with the number of each store of its work in turn, until there is no such store.
fn at_each_store(attempt: impl Fn(u64) -> bool) {
    let stores = (0..).take_while(|&at| attempt(at)).count();
    assert!(stores > 1);
}

fn mutex(heap: &Heap, incarnation: Incarnation) -> Mutex<'_, u64> {
    Mutex::<u64>::attach(heap.window(), incarnation, &NoDoorbell).unwrap()
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

/// Stops `work` at its store `at` and lets another take over. That one repairs before the late
/// partition continues if `early`, otherwise after.
fn stall_mutex(work: Work, early: bool, at: u64) -> bool {
    let heap = Heap::new(Mutex::<u64>::SEGMENT_LEN);
    if work != Work::Pass {
        forget(mutex(&heap, DEAD).try_lock(&mut AssumeAlive).unwrap());
    }
    let (other, last) = (mutex(&heap, OTHER), mutex(&heap, LAST));
    let (mut taken, mut taken_over) = (None, false);
    let meanwhile = || {
        taken_over = owner(&heap) == LATE.word();
        if taken_over {
            let waited = other.lock(&mut Spin::checks(9), &mut { SILENT });
            assert!(matches!(
                waited,
                Err(LockError::Failed(LockFailure::HolderSilent(LATE)))
            ));
        }
        taken = guard_and_warning(other.try_lock(&mut Dead(&[LATE, DEAD])));
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
    assert_eq!(report, taken_over.then_some(Err(NotHeld { holder })));
    if warned && !early {
        assert_eq!(
            word(&heap, 4),
            OTHER.word(),
            "a late store marks suspect bytes as whole"
        );
        guard.make_consistent();
    }
    guard.unlock().unwrap();
    // An unnecessary mark as suspect is all that it can leave.
    let state = word(&heap, 4);
    assert!(
        [health::WHOLE, LATE.word()].contains(&state),
        "{work:?} at {at}: {state:#x}"
    );
    assert!(guard_and_warning(last.try_lock(&mut AssumeAlive)).is_some());
    true
}

#[test]
fn a_late_owner_changes_nothing_of_the_next_owners_mutex_and_gets_an_error() {
    for work in [Work::Pass, Work::Repair, Work::Poison] {
        at_each_store(|at| stall_mutex(work, false, at));
        at_each_store(|at| stall_mutex(work, true, at));
    }
}

fn lock(heap: &Heap, incarnation: Incarnation) -> RwLock<'_, u64> {
    RwLock::<u64>::attach(heap.window(), incarnation, &NoDoorbell).unwrap()
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
    let (mut taken, mut taken_over) = (None, false);
    let meanwhile = || {
        taken_over = owner(&heap) == LATE.word();
        if taken_over {
            let waited = other.read(&mut Spin::checks(9), &mut { SILENT });
            assert!(matches!(
                waited,
                Err(LockError::Failed(LockFailure::HolderSilent(LATE)))
            ));
        }
        taken = guard_and_warning(other.try_write(&mut Dead(&[LATE, DEAD])));
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
    assert_eq!(report, taken_over.then_some(Err(NotHeld { holder })));
    assert_eq!(
        word(&heap, WRITING),
        OTHER.word(),
        "the death of the next writer would be hidden"
    );
    if warned && !early {
        assert_eq!(
            word(&heap, 4),
            OTHER.word(),
            "a late store marks suspect bytes as whole"
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
    assert!(guard_and_warning(last.try_write(&mut AssumeAlive)).is_some());
    assert_eq!(word(&heap, WRITING), 0);
    true
}

#[test]
fn a_late_writer_changes_nothing_of_the_next_writers_lock_and_gets_an_error() {
    for work in [Work::Pass, Work::Repair, Work::Poison] {
        at_each_store(|at| stall_writer(work, false, at));
        at_each_store(|at| stall_writer(work, true, at));
    }
}

#[test]
fn a_late_reader_changes_nothing_of_a_writers_lock_and_gets_an_error() {
    let attempt = |at, dead_writer: bool| {
        let heap = Heap::new(RwLock::<u64>::SEGMENT_LEN);
        if dead_writer {
            forget(lock(&heap, DEAD).try_write(&mut AssumeAlive).unwrap());
        }
        let other = lock(&heap, OTHER);
        let (mut taken, mut taken_over) = (None, false);
        let meanwhile = || {
            taken_over = word(&heap, 128) == LATE.word();
            let is_recovering = owner(&heap) == LATE.word();
            if taken_over || is_recovering {
                let waited = other.write(&mut Spin::checks(9), &mut { SILENT });
                assert!(matches!(
                    waited,
                    Err(LockError::Failed(LockFailure::HolderSilent(LATE)))
                ));
            }
            taken = guard_and_warning(other.try_write(&mut Dead(&[LATE, DEAD])));
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
        assert!(guard_and_warning(other.try_write(&mut AssumeAlive)).is_some());
        true
    };
    at_each_store(|at| attempt(at, false));
    at_each_store(|at| attempt(at, true));
}

fn semaphore(heap: &Heap, incarnation: Incarnation) -> Semaphore<'_> {
    Semaphore::attach(heap.window(), incarnation, &NoDoorbell).unwrap()
}

#[test]
fn a_late_holder_does_not_release_a_permit_that_another_took_over() {
    let attempt = |at| {
        let heap = Heap::new(Semaphore::segment_len(4));
        let other = semaphore(&heap, OTHER);
        other.add(2).unwrap();
        let mut permits = Vec::new();
        let mut taken_over = false;
        let meanwhile = || {
            taken_over = (128..160)
                .step_by(8)
                .any(|at| word(&heap, at) == LATE.word());
            permits.push(other.try_acquire(&mut { SILENT }).unwrap());
            if taken_over {
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
            true => assert_eq!(report, taken_over.then_some(Err(NotHeld { holder }))),
            false => assert_eq!(report, Some(Ok(()))),
        }
        drop(permits);
        assert_eq!((other.available(), other.permits()), (2, 2));
        reached
    };
    at_each_store(attempt);
}

#[test]
fn a_late_adder_adds_no_permit_twice() {
    let attempt = |at| {
        let heap = Heap::new(Semaphore::segment_len(4));
        let other = semaphore(&heap, OTHER);
        let mut added = 2;
        let meanwhile = || {
            // No partition takes the places of one that is silent.
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
fn a_place_that_a_thread_has_reserved_is_not_released_by_another() {
    for consume in [false, true] {
        at_each_store(|at| {
            let heap = Heap::new(Semaphore::segment_len(4));
            let ours = RawSemaphore::attach(heap.window(), LATE, &NoDoorbell).unwrap();
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
    Incarnation::next(incarnation.partition(), incarnation.number()).unwrap()
}

#[test]
fn a_late_party_gets_an_error_and_its_next_incarnation_takes_part() {
    at_each_store(|at| {
        let heap = Heap::new(Barrier::segment_len(2));
        let party = |incarnation| attach_barrier(heap.window(), incarnation, 2, &NoDoorbell);
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
        // It may have stored the entry once more: the next check corrects that.
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
fn a_late_owner_of_a_bakery_gets_an_error_and_the_others_continue() {
    for work in [Work::Pass, Work::Repair, Work::Poison] {
        at_each_store(|at| {
            let heap = Heap::new(BakeryMutex::<u64>::SEGMENT_LEN);
            if work != Work::Pass {
                forget(bakery(&heap, DEAD).try_lock(&mut AssumeAlive).unwrap());
            }
            let (mut late, mut other) = (bakery(&heap, LATE), raw_bakery(&heap, OTHER));
            let (mut entered, mut taken_over) = (false, false);
            let meanwhile = || {
                taken_over = word(&heap, 0) == LATE.word();
                if taken_over {
                    let waited = other.lock(&mut Spin::checks(9), &mut { SILENT });
                    assert_eq!(waited, Err(LockFailure::HolderSilent(LATE)));
                }
                match other.try_lock(&mut Dead(&[LATE, DEAD])) {
                    Ok(_) => {
                        entered = true;
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
            // One store may be late (see the table in its module): no lock is lost by it.
            if entered && word(&heap, 0) == OTHER.word() {
                let not_held = NotHeld {
                    holder: Some(OTHER),
                };
                assert!(
                    !taken_over || report == Some(Err(not_held)),
                    "{report:?} at {at}"
                );
                unlock_bakery(&mut other).unwrap();
            } else if entered {
                let _ = unlock_bakery(&mut other);
            }
            let mut last = bakery(&heap, LAST);
            let taken = last.lock(&mut Spin::checks(99), &mut Dead(&[LATE, DEAD]));
            assert!(
                guard_and_warning(taken).is_some() || work == Work::Poison,
                "{work:?} at {at}"
            );
            true
        });
    }
}

#[test]
fn an_evicted_owner_of_a_bakery_gets_an_error_and_stores_nothing() {
    let heap = Heap::new(BakeryMutex::<u64>::SEGMENT_LEN);
    let mut late = raw_bakery(&heap, LATE);
    assert_eq!(late.try_lock(&mut AssumeAlive), Ok(Acquired::Clean));
    let mut later = bakery(&heap, next(LATE));
    let Err(LockError::OwnerDied(mut guard)) = later.try_lock(&mut AssumeAlive) else {
        panic!("no warning of the death");
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
