//! Locks with a hostile peer. It stores arbitrary control words, between our calls and
//! during them, while incarnations are reported as gone that are not.

#![no_main]

use std::cell::RefCell;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_core::doorbell::NoDoorbell;
use shmem_core::mem::Heap;
use shmem_core::{Incarnation, Window};
use shmem_fuzz::{
    LimitedWait, Many, PeerStore, RandomLiveness, Rarely, SmallIncarnation, expand, while_storing,
};
use shmem_sync::inspect::{BakeryWords, BarrierWords, MutexWords, RwLockWords, SemaphoreWords};
use shmem_sync::raw::{RawBakeryMutex, RawMutex, RawRwLock, RawSemaphore};
use shmem_sync::{AcquireError, AttachError, Barrier, BarrierError, LockFailure, NotHeld};

#[derive(Arbitrary, Debug)]
struct Input {
    which: Which,
    /// Bytes after the control block, or permits, or entries.
    len: u8,
    users: [SmallIncarnation; 2],
    /// The states of incarnations, two bits each.
    gone: u32,
    /// The stores before the first call.
    before: Many<PeerStore>,
    /// True to make all stores from another thread too.
    threaded: Rarely,
    steps: Many<(Step, Option<PeerStore>)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Which {
    Mutex,
    Bakery,
    Semaphore,
    RwLock,
    Barrier,
}

/// One step of a user; each lock maps it to its own calls.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Step {
    second: bool,
    verb: Verb,
    /// The wait; `None` only tries.
    wait: Option<(u8, bool)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Verb {
    /// Acquires and releases at once; `repair` makes the data consistent.
    Use {
        repair: bool,
    },
    /// Acquires and forgets the guard.
    Take,
    /// Acquires for reading, if the lock can.
    Share {
        keep: bool,
    },
    Release,
    Repair,
    Add(u8),
    Consume,
    Inspect,
}

fuzz_target!(|data: &[u8]| {
    let data = expand(data);
    let mut bytes = Unstructured::new(&data);
    let Ok(input) = Input::arbitrary(&mut bytes) else {
        return;
    };
    let heap = Heap::new(input.which.len(input.len));
    let window = heap.window();
    for store in input.before.iter() {
        store.apply(window);
    }
    run(&input, window, true);
    if *input.threaded {
        let stores: Vec<PeerStore> = input.steps.iter().filter_map(|step| step.1).collect();
        while_storing(window, &stores, || run(&input, window, false));
    }
});

impl Which {
    fn len(self, len: u8) -> usize {
        let data = usize::from(len % 64);
        match self {
            Self::Mutex => RawMutex::segment_len(data),
            Self::Bakery => RawBakeryMutex::segment_len(data),
            Self::Semaphore => RawSemaphore::segment_len(data % 16 + 1),
            Self::RwLock => RawRwLock::segment_len(data),
            Self::Barrier => Barrier::segment_len(len % 8 + 4),
        }
    }
}

/// `quiet`: the peer stores only between calls.
fn run(input: &Input, window: Window<'_>, quiet: bool) {
    let incarnations = input.users.map(SmallIncarnation::incarnation);
    match input.which {
        Which::Mutex => {
            let attach = |incarnation| {
                RawMutex::attach(window, incarnation, &NoDoorbell).expect("room for one")
            };
            let mutexes = incarnations.map(attach);
            play(input, window, |step, liveness| {
                mutex(&mutexes, window, step, liveness)
            });
        }
        Which::Bakery => {
            // SAFETY: two handles of one incarnation do not exclude each other, but nothing relies
            // on the protected bytes.
            let attach = |incarnation| unsafe { RawBakeryMutex::attach(window, incarnation, 5) };
            let mut mutexes = match incarnations.map(attach) {
                [Ok(first), Ok(second)] => [first, second],
                // A later incarnation has the entry.
                [Err(AttachError::Evicted), _] | [_, Err(AttachError::Evicted)] => return,
                [first, second] => panic!("{:?} {:?}", first.err(), second.err()),
            };
            play(input, window, |step, liveness| {
                bakery(&mut mutexes, window, step, liveness)
            });
        }
        Which::Semaphore => {
            let attach = |incarnation| {
                RawSemaphore::attach(window, incarnation, &NoDoorbell).expect("room for one")
            };
            let semaphores = incarnations.map(attach);
            play(input, window, |step, liveness| {
                semaphore(&semaphores, window, step, liveness, quiet)
            });
        }
        Which::RwLock => {
            let attach = |incarnation| {
                RawRwLock::attach(window, incarnation, &NoDoorbell).expect("room for one")
            };
            let locks = incarnations.map(attach);
            play(input, window, |step, liveness| {
                rwlock(&locks, window, step, liveness)
            });
        }
        Which::Barrier => {
            let mut barriers = incarnations.map(|incarnation| attach_barrier(window, incarnation));
            play(input, window, |step, liveness| {
                barrier(&mut barriers, window, step, liveness, incarnations)
            });
        }
    }
}

/// Runs every step, and makes the peer's store after it.
fn play(input: &Input, window: Window<'_>, mut run_step: impl FnMut(Step, &mut RandomLiveness)) {
    let mut liveness = RandomLiveness::new(input.gone);
    for (step, store) in input.steps.iter() {
        run_step(*step, &mut liveness);
        if let Some(store) = store {
            store.apply(window);
        }
    }
}

/// Returns the guard if a lock was acquired. Otherwise checks that the failure fits the call.
fn acquired<A>(result: Result<A, LockFailure>, waits: bool) -> Option<A> {
    match &result {
        Err(LockFailure::Busy) => assert!(!waits, "busy although it waits"),
        Err(LockFailure::TimedOut) => assert!(waits, "timed out without a wait"),
        Err(failure) => assert!(!failure.to_string().is_empty()),
        Ok(_) => {}
    }
    result.ok()
}

/// Changes the last `len` bytes, which a lock protects.
fn change(window: Window<'_>, len: usize) {
    window.write(window.len() - len, &vec![1; len]);
}

/// Repairs and unlocks, depending on the verb, with the calls of any lock.
fn finish(
    verb: Verb,
    repair: &mut dyn FnMut() -> Result<(), NotHeld>,
    unlock: &mut dyn FnMut() -> Result<(), NotHeld>,
) {
    if matches!(verb, Verb::Use { repair: true } | Verb::Repair) {
        let _ = repair();
    }
    if matches!(verb, Verb::Use { .. } | Verb::Share { .. } | Verb::Release) {
        let _ = unlock();
    }
}

fn mutex(
    mutexes: &[RawMutex<'_>; 2],
    window: Window<'_>,
    step: Step,
    liveness: &mut RandomLiveness,
) {
    let mutex = &mutexes[usize::from(step.second)];
    if matches!(
        step.verb,
        Verb::Use { .. } | Verb::Take | Verb::Share { .. }
    ) {
        let result = match step.wait {
            Some((pauses, sleepy)) => mutex.lock(&mut LimitedWait::new(pauses, sleepy), liveness),
            None => mutex.try_lock(liveness),
        };
        if acquired(result, step.wait.is_some()).is_none() {
            return;
        }
        change(window, window.len() - RawMutex::segment_len(0));
    }
    // SAFETY: nothing relies on the protected bytes.
    let repair = &mut || unsafe { mutex.make_consistent() };
    // SAFETY: as above.
    finish(step.verb, repair, &mut || unsafe { mutex.unlock() });
    let _ = mutex.owner();
    let words = MutexWords::attach(window).expect("room for one");
    let _ = (words.owner(), words.health(), words.protects());
}

fn bakery(
    mutexes: &mut [RawBakeryMutex<'_>; 2],
    window: Window<'_>,
    step: Step,
    liveness: &mut RandomLiveness,
) {
    let mutex = &mut mutexes[usize::from(step.second)];
    if matches!(
        step.verb,
        Verb::Use { .. } | Verb::Take | Verb::Share { .. }
    ) {
        let result = match step.wait {
            Some((pauses, sleepy)) => mutex.lock(&mut LimitedWait::new(pauses, sleepy), liveness),
            None => mutex.try_lock(liveness),
        };
        if acquired(result, step.wait.is_some()).is_none() {
            return;
        }
        change(window, window.len() - RawBakeryMutex::segment_len(0));
    }
    let mutex = RefCell::new(mutex);
    // SAFETY: nothing relies on the protected bytes.
    let repair = &mut || unsafe { mutex.borrow_mut().make_consistent() };
    // SAFETY: as above.
    let unlock = &mut || unsafe { mutex.borrow_mut().unlock() };
    finish(step.verb, repair, unlock);
    let _ = mutex.borrow().owner();
    let words = BakeryWords::attach(window).expect("room for one");
    let _ = (
        words.holder(),
        words.health(),
        words.colour(),
        words.protects(),
    );
    assert_eq!(words.entries().count(), 64);
}

fn semaphore(
    semaphores: &[RawSemaphore<'_>; 2],
    window: Window<'_>,
    step: Step,
    liveness: &mut RandomLiveness,
    quiet: bool,
) {
    let semaphore = &semaphores[usize::from(step.second)];
    match step.verb {
        Verb::Use { .. } | Verb::Take | Verb::Share { .. } | Verb::Consume => {
            let result = match step.wait {
                Some((pauses, sleepy)) => {
                    semaphore.acquire(&mut LimitedWait::new(pauses, sleepy), liveness)
                }
                None => semaphore.try_acquire(liveness),
            };
            let place = match result {
                Ok(place) => place,
                Err(AcquireError::Busy) => return assert!(step.wait.is_none()),
                Err(AcquireError::TimedOut) => return assert!(step.wait.is_some()),
                Err(error) => return assert!(!error.to_string().is_empty()),
            };
            let given = match step.verb {
                Verb::Take => return,
                // SAFETY: acquired above.
                Verb::Consume => unsafe { semaphore.consume(place) },
                // SAFETY: as above.
                _ => unsafe { semaphore.release(place) },
            };
            assert!(
                !quiet || given.is_ok(),
                "a permit that was just acquired is ours"
            );
        }
        Verb::Add(permits) => {
            let before = semaphore.permits();
            let added = semaphore.add(usize::from(permits % 20));
            if quiet && added.is_err() {
                assert_eq!(semaphore.permits(), before, "all or none");
            }
        }
        Verb::Release => {
            let places: Vec<usize> = semaphore.held().take(1).collect();
            for place in places {
                // SAFETY: no guard of it is used.
                let _ = unsafe { semaphore.release(place) };
            }
        }
        _ => {
            assert!(semaphore.permits() <= semaphore.capacity());
            assert!(semaphore.available() <= semaphore.capacity());
            let words = SemaphoreWords::attach(window).expect("room for one");
            assert_eq!(words.permits().count(), semaphore.capacity());
        }
    }
}

fn rwlock(
    locks: &[RawRwLock<'_>; 2],
    window: Window<'_>,
    step: Step,
    liveness: &mut RandomLiveness,
) {
    let lock = &locks[usize::from(step.second)];
    let (waits, len) = (
        step.wait.is_some(),
        window.len() - RawRwLock::segment_len(0),
    );
    // SAFETY: nothing relies on the protected bytes.
    let unlock_read = |place| unsafe { lock.unlock_read(place) };
    match step.verb {
        Verb::Share { keep } => {
            let result = match step.wait {
                Some((pauses, sleepy)) => {
                    lock.read(&mut LimitedWait::new(pauses, sleepy), liveness)
                }
                None => lock.try_read(liveness),
            };
            if let Some((_, place)) = acquired(result, waits).filter(|_| !keep) {
                let _ = unlock_read(place);
            }
        }
        Verb::Add(place) => drop(unlock_read(usize::from(place))),
        verb => {
            if matches!(verb, Verb::Use { .. } | Verb::Take) {
                let result = match step.wait {
                    Some((pauses, sleepy)) => {
                        lock.write(&mut LimitedWait::new(pauses, sleepy), liveness)
                    }
                    None => lock.try_write(liveness),
                };
                if acquired(result, waits).is_none() {
                    return;
                }
                change(window, len);
            }
            // SAFETY: as above.
            let repair = &mut || unsafe { lock.make_consistent() };
            // SAFETY: as above.
            finish(verb, repair, &mut || unsafe { lock.unlock_write() });
        }
    }
    assert!(lock.readers().count() <= 128);
    let _ = lock.writer();
    let words = RwLockWords::attach(window).expect("room for one");
    let _ = (
        words.writer(),
        words.is_writing(),
        words.health(),
        words.protects(),
    );
    assert!(words.readers().count() <= 128);
}

/// Returns a party's handle to a barrier.
fn attach_barrier(window: Window<'_>, incarnation: Incarnation) -> Barrier<'_> {
    // SAFETY: two handles of one incarnation let the others pass early, but nothing relies on
    // the barrier.
    unsafe { Barrier::attach(window, incarnation, 2, &NoDoorbell) }.expect("room for one")
}

fn barrier<'m>(
    barriers: &mut [Barrier<'m>; 2],
    window: Window<'m>,
    step: Step,
    liveness: &mut RandomLiveness,
    incarnations: [Incarnation; 2],
) {
    let at = usize::from(step.second);
    let barrier = &mut barriers[at];
    match (step.verb, step.wait) {
        (Verb::Inspect, _) => {
            let words = BarrierWords::attach(window).expect("room for one");
            assert!(words.parties().count() <= 11);
        }
        (Verb::Release, _) => *barrier = attach_barrier(window, incarnations[at]),
        (_, Some((pauses, sleepy))) => {
            match barrier.wait(&mut LimitedWait::new(pauses, sleepy), liveness) {
                Ok(arrival) => assert_ne!(arrival.phase, 0),
                Err(BarrierError::PartyDied(incarnation)) => {
                    assert_ne!(incarnation, incarnations[at])
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
        (_, None) => {
            let arrived = barrier.try_wait(liveness);
            assert_ne!(arrived, Err(BarrierError::TimedOut));
        }
    }
}
