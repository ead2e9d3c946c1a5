//! Locks whose control words a peer stores as it likes, between our calls and
//! during them, while incarnations are reported as gone that are not.

#![no_main]

use std::cell::RefCell;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_core::doorbell::Silent;
use shmem_core::mem::Heap;
use shmem_core::{Incarnation, Window};
use shmem_fuzz::{Limited, Many, Oracle, Rarely, Scribble, Who, expand, while_scribbling};
use shmem_sync::inspect::{BakeryWords, BarrierWords, MutexWords, RwLockWords, SemaphoreWords};
use shmem_sync::raw::{RawBakeryMutex, RawMutex, RawRwLock, RawSemaphore};
use shmem_sync::{AcquireError, AttachError, Barrier, BarrierError, LockFailure, NotHeld};

#[derive(Arbitrary, Debug)]
struct Input {
    which: Which,
    /// Bytes behind the control block, or permits, or entries.
    len: u8,
    users: [Who; 2],
    /// Which incarnations are over.
    over: u32,
    /// What stands in the control block before the first call.
    before: Many<Scribble>,
    /// Whether to play all scribbles from another thread too.
    threaded: Rarely,
    steps: Many<(Step, Option<Scribble>)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Which {
    Mutex,
    Bakery,
    Semaphore,
    RwLock,
    Barrier,
}

/// What a user does; each lock makes of it what it has.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Step {
    second: bool,
    verb: Verb,
    /// How long it waits; `None` only tries.
    wait: Option<(u8, bool)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Verb {
    /// And gives it back at once; `repair` what a dead one left.
    Use {
        repair: bool,
    },
    /// And forgets the guard.
    Take,
    /// The shared way, where there is one.
    Share {
        keep: bool,
    },
    Release,
    Repair,
    Add(u8),
    Consume,
    Look,
}

fuzz_target!(|data: &[u8]| {
    let data = expand(data);
    let mut bytes = Unstructured::new(&data);
    let Ok(input) = Input::arbitrary(&mut bytes) else {
        return;
    };
    let heap = Heap::new(input.which.len(input.len));
    let window = heap.window();
    for scribble in input.before.iter() {
        scribble.apply(window);
    }
    run(&input, window, true);
    if *input.threaded {
        let scribbles: Vec<Scribble> = input.steps.iter().filter_map(|step| step.1).collect();
        while_scribbling(window, &scribbles, || run(&input, window, false));
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

/// `quiet`: nobody writes during a call, only between them.
fn run(input: &Input, window: Window<'_>, quiet: bool) {
    let incarnations = input.users.map(Who::incarnation);
    match input.which {
        Which::Mutex => {
            let attach =
                |incarnation| RawMutex::attach(window, incarnation, &Silent).expect("room for one");
            let mutexes = incarnations.map(attach);
            play(input, window, |step, oracle| {
                mutex(&mutexes, window, step, oracle)
            });
        }
        Which::Bakery => {
            // SAFETY: two of one incarnation let each other in, to bytes that nobody relies on.
            let attach = |incarnation| unsafe { RawBakeryMutex::attach(window, incarnation, 5) };
            let mut mutexes = match incarnations.map(attach) {
                [Ok(first), Ok(second)] => [first, second],
                // A later incarnation has the entry.
                [Err(AttachError::Evicted), _] | [_, Err(AttachError::Evicted)] => return,
                [first, second] => panic!("{:?} {:?}", first.err(), second.err()),
            };
            play(input, window, |step, oracle| {
                bakery(&mut mutexes, window, step, oracle)
            });
        }
        Which::Semaphore => {
            let attach = |incarnation| {
                RawSemaphore::attach(window, incarnation, &Silent).expect("room for one")
            };
            let semaphores = incarnations.map(attach);
            play(input, window, |step, oracle| {
                semaphore(&semaphores, window, step, oracle, quiet)
            });
        }
        Which::RwLock => {
            let attach = |incarnation| {
                RawRwLock::attach(window, incarnation, &Silent).expect("room for one")
            };
            let locks = incarnations.map(attach);
            play(input, window, |step, oracle| {
                rwlock(&locks, window, step, oracle)
            });
        }
        Which::Barrier => {
            let mut barriers = incarnations.map(|incarnation| meet(window, incarnation));
            play(input, window, |step, oracle| {
                barrier(&mut barriers, window, step, oracle, incarnations)
            });
        }
    }
}

/// Takes every step, and stores what the peer stores behind it.
fn play(input: &Input, window: Window<'_>, mut take: impl FnMut(Step, &mut Oracle)) {
    let mut oracle = Oracle::new(input.over);
    for (step, scribble) in input.steps.iter() {
        take(*step, &mut oracle);
        if let Some(scribble) = scribble {
            scribble.apply(window);
        }
    }
}

/// Whether a lock was acquired; if not, for a reason that fits the call.
fn acquired<A>(result: Result<A, LockFailure>, waits: bool) -> Option<A> {
    match &result {
        Err(LockFailure::Busy) => assert!(!waits, "busy, and it would have waited"),
        Err(LockFailure::TimedOut) => assert!(waits, "a deadline without a wait"),
        Err(failure) => assert!(!failure.to_string().is_empty()),
        Ok(_) => {}
    }
    result.ok()
}

/// Changes the bytes at the end, which a lock protects.
fn change(window: Window<'_>, len: usize) {
    window.write(window.len() - len, &vec![1; len]);
}

/// Repairs and unlocks, as the step has it, by the calls of any lock.
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

fn mutex(mutexes: &[RawMutex<'_>; 2], window: Window<'_>, step: Step, oracle: &mut Oracle) {
    let mutex = &mutexes[usize::from(step.second)];
    if matches!(
        step.verb,
        Verb::Use { .. } | Verb::Take | Verb::Share { .. }
    ) {
        let result = match step.wait {
            Some((pauses, sleepy)) => mutex.lock(&mut Limited::new(pauses, sleepy), oracle),
            None => mutex.try_lock(oracle),
        };
        if acquired(result, step.wait.is_some()).is_none() {
            return;
        }
        change(window, window.len() - RawMutex::segment_len(0));
    }
    // SAFETY: nobody relies on the bytes.
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
    oracle: &mut Oracle,
) {
    let mutex = &mut mutexes[usize::from(step.second)];
    if matches!(
        step.verb,
        Verb::Use { .. } | Verb::Take | Verb::Share { .. }
    ) {
        let result = match step.wait {
            Some((pauses, sleepy)) => mutex.lock(&mut Limited::new(pauses, sleepy), oracle),
            None => mutex.try_lock(oracle),
        };
        if acquired(result, step.wait.is_some()).is_none() {
            return;
        }
        change(window, window.len() - RawBakeryMutex::segment_len(0));
    }
    let mutex = RefCell::new(mutex);
    // SAFETY: nobody relies on the bytes.
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
    assert_eq!(words.places().count(), 64);
}

fn semaphore(
    semaphores: &[RawSemaphore<'_>; 2],
    window: Window<'_>,
    step: Step,
    oracle: &mut Oracle,
    quiet: bool,
) {
    let semaphore = &semaphores[usize::from(step.second)];
    match step.verb {
        Verb::Use { .. } | Verb::Take | Verb::Share { .. } | Verb::Consume => {
            let result = match step.wait {
                Some((pauses, sleepy)) => {
                    semaphore.acquire(&mut Limited::new(pauses, sleepy), oracle)
                }
                None => semaphore.try_acquire(oracle),
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
            assert!(!quiet || given.is_ok(), "what was just acquired is ours");
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

fn rwlock(locks: &[RawRwLock<'_>; 2], window: Window<'_>, step: Step, oracle: &mut Oracle) {
    let lock = &locks[usize::from(step.second)];
    let (waits, len) = (
        step.wait.is_some(),
        window.len() - RawRwLock::segment_len(0),
    );
    // SAFETY: nobody relies on the bytes.
    let unlock_read = |place| unsafe { lock.unlock_read(place) };
    match step.verb {
        Verb::Share { keep } => {
            let result = match step.wait {
                Some((pauses, sleepy)) => lock.read(&mut Limited::new(pauses, sleepy), oracle),
                None => lock.try_read(oracle),
            };
            if let Some((_, place)) = acquired(result, waits).filter(|_| !keep) {
                let _ = unlock_read(place);
            }
        }
        Verb::Add(place) => drop(unlock_read(usize::from(place))),
        verb => {
            if matches!(verb, Verb::Use { .. } | Verb::Take) {
                let result = match step.wait {
                    Some((pauses, sleepy)) => lock.write(&mut Limited::new(pauses, sleepy), oracle),
                    None => lock.try_write(oracle),
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

/// A party's handle to a barrier.
fn meet(window: Window<'_>, incarnation: Incarnation) -> Barrier<'_> {
    // SAFETY: two of one incarnation let the others pass early, which nobody relies on.
    unsafe { Barrier::attach(window, incarnation, 2, &Silent) }.expect("room for one")
}

fn barrier<'m>(
    barriers: &mut [Barrier<'m>; 2],
    window: Window<'m>,
    step: Step,
    oracle: &mut Oracle,
    incarnations: [Incarnation; 2],
) {
    let at = usize::from(step.second);
    let barrier = &mut barriers[at];
    match (step.verb, step.wait) {
        (Verb::Look, _) => {
            let words = BarrierWords::attach(window).expect("room for one");
            assert!(words.parties().count() <= 11);
        }
        (Verb::Release, _) => *barrier = meet(window, incarnations[at]),
        (_, Some((pauses, sleepy))) => {
            match barrier.wait(&mut Limited::new(pauses, sleepy), oracle) {
                Ok(arrival) => assert_ne!(arrival.phase, 0),
                Err(BarrierError::PartyDied(incarnation)) => {
                    assert_ne!(incarnation, incarnations[at])
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
        (_, None) => {
            let arrived = barrier.try_wait(oracle);
            assert_ne!(arrived, Err(BarrierError::TimedOut));
        }
    }
}
