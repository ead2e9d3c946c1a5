//! Locks whose control words a peer stores as it likes, between our calls and
//! during them, while lives are said to be over that are not.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_core::doorbell::Silent;
use shmem_core::mem::Heap;
use shmem_core::{Life, Window};
use shmem_fuzz::{Limited, Many, Oracle, Rarely, Scribble, Who, expand, while_scribbling};
use shmem_sync::inspect::{BakeryWords, BarrierWords, MutexWords, RwLockWords, SemaphoreWords};
use shmem_sync::{
    AcquireError, BakeryMutex, Barrier, BarrierError, LockError, LockResult, Mutex, RwLock,
    Semaphore,
};

#[derive(Arbitrary, Debug)]
struct Input {
    which: Which,
    /// Bytes behind the control block, or permits, or entries.
    len: u8,
    users: [Who; 2],
    /// Which lives are over.
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
            Self::Mutex => Mutex::<Silent>::segment_len(data),
            Self::Bakery => BakeryMutex::segment_len(data),
            Self::Semaphore => Semaphore::<Silent>::segment_len(data % 16 + 1),
            Self::RwLock => RwLock::<Silent>::segment_len(data),
            Self::Barrier => Barrier::<Silent>::segment_len(len % 8 + 4),
        }
    }
}

/// `quiet`: nobody writes during a call, only between them.
fn run(input: &Input, window: Window<'_>, quiet: bool) {
    let lives = input.users.map(Who::life);
    match input.which {
        Which::Mutex => {
            let attach = |life| Mutex::attach(window, life, Silent).expect("room for one");
            let mutexes = lives.map(attach);
            play(input, window, |step, oracle| {
                mutex(&mutexes, window, step, oracle)
            });
        }
        Which::Bakery => {
            let attach = |life| BakeryMutex::attach_among(window, life, 5).expect("room for one");
            let mut mutexes = lives.map(attach);
            play(input, window, |step, oracle| {
                bakery(&mut mutexes, window, step, oracle)
            });
        }
        Which::Semaphore => {
            let attach = |life| Semaphore::attach(window, life, Silent).expect("room for one");
            let semaphores = lives.map(attach);
            play(input, window, |step, oracle| {
                semaphore(&semaphores, window, step, oracle, quiet)
            });
        }
        Which::RwLock => {
            let attach = |life| RwLock::attach(window, life, Silent).expect("room for one");
            let locks = lives.map(attach);
            play(input, window, |step, oracle| {
                rwlock(&locks, window, step, oracle)
            });
        }
        Which::Barrier => {
            let attach = |life| Barrier::attach(window, life, 2, Silent).expect("room for one");
            let mut barriers = lives.map(attach);
            play(input, window, |step, oracle| {
                barrier(&mut barriers, window, step, oracle, lives)
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

/// A lock that was not had, for a reason that fits the call; `waits` or only tries.
fn refused<G>(error: &LockError<G>, waits: bool) {
    match error {
        LockError::Busy => assert!(!waits, "busy, and it would have waited"),
        LockError::TimedOut => assert!(waits, "a deadline without a wait"),
        error => assert!(!error.to_string().is_empty()),
    }
}

/// The guard, with a warning or without.
fn had<G>(result: LockResult<G>, waits: bool) -> Option<G> {
    match result {
        Ok(guard) | Err(LockError::OwnerDied(guard)) => Some(guard),
        Err(error) => {
            refused(&error, waits);
            None
        }
    }
}

fn mutex(mutexes: &[Mutex<'_, Silent>; 2], window: Window<'_>, step: Step, oracle: &mut Oracle) {
    let mutex = &mutexes[usize::from(step.second)];
    let waits = step.wait.is_some();
    let lock = |oracle: &mut Oracle| match step.wait {
        Some((pauses, sleepy)) => mutex.lock(&mut Limited::new(pauses, sleepy), oracle),
        None => mutex.try_lock(oracle),
    };
    match step.verb {
        Verb::Use { repair } => {
            if let Some(mut guard) = had(lock(oracle), waits) {
                guard.data().write(0, &vec![1; guard.data().len()]);
                if repair {
                    guard.make_consistent();
                }
                let _ = guard.unlock();
            }
        }
        Verb::Take => drop(had(lock(oracle), waits).map(std::mem::forget)),
        Verb::Share { .. } => drop(had(lock(oracle), waits)),
        Verb::Release => drop(mutex.release()),
        Verb::Repair => drop(mutex.make_consistent()),
        _ => {
            let _ = mutex.owner();
            let words = MutexWords::attach(window).expect("room for one");
            let _ = (words.owner(), words.health());
        }
    }
}

fn bakery(mutexes: &mut [BakeryMutex<'_>; 2], window: Window<'_>, step: Step, oracle: &mut Oracle) {
    let mutex = &mut mutexes[usize::from(step.second)];
    let waits = step.wait.is_some();
    match step.verb {
        Verb::Use { .. } | Verb::Take | Verb::Share { .. } => {
            let result = match step.wait {
                Some((pauses, sleepy)) => mutex.lock(&mut Limited::new(pauses, sleepy), oracle),
                None => mutex.try_lock(oracle),
            };
            let Some(mut guard) = had(result, waits) else {
                return;
            };
            guard.data().write(0, &vec![1; guard.data().len()]);
            match step.verb {
                Verb::Take => std::mem::forget(guard),
                Verb::Use { repair: true } => {
                    guard.make_consistent();
                    let _ = guard.unlock();
                }
                _ => {}
            }
        }
        Verb::Release => drop(mutex.release()),
        Verb::Repair => drop(mutex.make_consistent()),
        _ => {
            let _ = mutex.owner();
            let words = BakeryWords::attach(window).expect("room for one");
            let _ = (words.holder(), words.health(), words.colour());
            assert_eq!(words.places().count(), 64);
        }
    }
}

fn semaphore(
    semaphores: &[Semaphore<'_, Silent>; 2],
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
            match (result, step.verb) {
                (Ok(permit), Verb::Take) => std::mem::forget(permit),
                (Ok(permit), Verb::Consume) => drop(permit.consume()),
                (Ok(permit), _) => {
                    let given = permit.release();
                    assert!(!quiet || given.is_ok(), "what was just had is ours");
                }
                (Err(AcquireError::Busy), _) => assert!(step.wait.is_none()),
                (Err(AcquireError::TimedOut), _) => assert!(step.wait.is_some()),
                (Err(error), _) => assert!(!error.to_string().is_empty()),
            }
        }
        Verb::Add(permits) => {
            let before = semaphore.permits();
            let added = semaphore.add(usize::from(permits % 20));
            if quiet && added.is_err() {
                assert_eq!(semaphore.permits(), before, "all or none");
            }
        }
        Verb::Release => drop(semaphore.release()),
        _ => {
            assert!(semaphore.permits() <= semaphore.capacity());
            assert!(semaphore.available() <= semaphore.capacity());
            let words = SemaphoreWords::attach(window).expect("room for one");
            assert_eq!(words.permits().count(), semaphore.capacity());
        }
    }
}

fn rwlock(locks: &[RwLock<'_, Silent>; 2], window: Window<'_>, step: Step, oracle: &mut Oracle) {
    let lock = &locks[usize::from(step.second)];
    let waits = step.wait.is_some();
    match step.verb {
        Verb::Share { keep } => {
            let result = match step.wait {
                Some((pauses, sleepy)) => lock.read(&mut Limited::new(pauses, sleepy), oracle),
                None => lock.try_read(oracle),
            };
            if let Some(guard) = had(result, waits) {
                guard.data().read(0, &mut vec![0; guard.data().len()]);
                if keep {
                    std::mem::forget(guard);
                }
            }
        }
        Verb::Use { .. } | Verb::Take => {
            let result = match step.wait {
                Some((pauses, sleepy)) => lock.write(&mut Limited::new(pauses, sleepy), oracle),
                None => lock.try_write(oracle),
            };
            if let Some(mut guard) = had(result, waits) {
                guard.data().write(0, &vec![1; guard.data().len()]);
                match step.verb {
                    Verb::Take => std::mem::forget(guard),
                    Verb::Use { repair: true } => {
                        guard.make_consistent();
                        let _ = guard.unlock();
                    }
                    _ => {}
                }
            }
        }
        Verb::Release => drop(lock.release_write()),
        Verb::Add(place) => drop(lock.release_read(usize::from(place))),
        Verb::Repair => drop(lock.make_consistent()),
        _ => {
            assert!(lock.readers().count() <= 128);
            let _ = lock.writer();
            let words = RwLockWords::attach(window).expect("room for one");
            let _ = (words.writer(), words.is_writing(), words.health());
            assert!(words.readers().count() <= 128);
        }
    }
}

fn barrier<'m>(
    barriers: &mut [Barrier<'m, Silent>; 2],
    window: Window<'m>,
    step: Step,
    oracle: &mut Oracle,
    lives: [Life; 2],
) {
    let at = usize::from(step.second);
    let barrier = &mut barriers[at];
    match (step.verb, step.wait) {
        (Verb::Look, _) => {
            let words = BarrierWords::attach(window).expect("room for one");
            assert!(words.parties().count() <= 11);
        }
        (Verb::Release, _) => {
            let again = Barrier::attach(window, lives[at], 2, Silent);
            *barrier = again.expect("room for one");
        }
        (_, Some((pauses, sleepy))) => {
            match barrier.wait(&mut Limited::new(pauses, sleepy), oracle) {
                Ok(arrival) => assert_ne!(arrival.phase, 0),
                Err(BarrierError::PartyDied(life)) => assert_ne!(life, lives[at]),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
        (_, None) => {
            let arrived = barrier.try_wait(oracle);
            assert_ne!(arrived, Err(BarrierError::TimedOut));
        }
    }
}
