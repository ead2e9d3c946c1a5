//! Models of the mutex: one inside at a time, nobody asleep for ever, and what the
//! dead leave.
//!
//! The protected bytes are loom's plain cells: two inside at once, or an owner that
//! does not see what the last one did, are reported as a race.
#![cfg(loom)]

use loom::thread;
use shmem_core::doorbell::Silent;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::Wait;
use shmem_core::{Incarnation, Window};
use shmem_sync::raw::{DoorbellRef, RawMutex};
use shmem_sync::{AssumeAlive, LockError, LockFailure, Mutex};

mod support;
use support::{add_one, count, heap, yields, Dead, Kernel, Obituary, Yield};

const FIRST: Incarnation = Incarnation::first(1);
const SECOND: Incarnation = Incarnation::first(2);
const THIRD: Incarnation = Incarnation::first(3);

fn memory() -> Window<'static> {
    heap(RawMutex::segment_len(8))
}

fn mutex<'m>(
    memory: Window<'m>,
    incarnation: Incarnation,
    bell: DoorbellRef<'m>,
) -> Mutex<'m, [u8]> {
    Mutex::attach(memory, incarnation, bell).unwrap()
}

fn enter(mutex: &Mutex<'_, [u8]>, wait: &mut impl Wait) {
    let mut guard = mutex.lock(wait, &mut AssumeAlive).unwrap();
    add_one(&mut guard);
    guard.unlock().unwrap();
}

/// The count in a mutex that is free.
fn count_of(mutex: &Mutex<'_, [u8]>) -> u8 {
    count(mutex.try_lock(&mut AssumeAlive).unwrap().window().into())
}

#[test] // Kills: Acquire in `exchange`, Release in `free`.
fn an_owner_sees_what_the_last_one_did() {
    loom::model(|| {
        let memory = memory();
        let peer = thread::spawn(move || enter(&mutex(memory, SECOND, &Silent), &mut Yield));
        let mutex = mutex(memory, FIRST, &Silent);
        enter(&mutex, &mut Yield);
        peer.join().unwrap();
        assert_eq!(count_of(&mutex), 2);
    });
}

/// Every one of `lives` enters, and sleeps as long as it takes.
fn all_enter(incarnations: &'static [Incarnation]) {
    loom::model(move || {
        let (memory, kernel) = (memory(), Kernel::new());
        let turn = move |incarnation, kernel: Kernel| {
            enter(&mutex(memory, incarnation, &kernel), &mut kernel.clone());
        };
        let threads: Vec<_> = incarnations[1..]
            .iter()
            .map(|&incarnation| {
                let kernel = kernel.clone();
                thread::spawn(move || turn(incarnation, kernel))
            })
            .collect();
        turn(incarnations[0], kernel);
        for thread in threads {
            thread.join().unwrap();
        }
        let mutex = mutex(memory, FIRST, &Silent);
        let mut inside = mutex.try_lock(&mut AssumeAlive).unwrap();
        assert_eq!(
            usize::from(count(inside.window().into())),
            incarnations.len()
        );
    });
}

#[test] // Kills: the flag not set before a sleep, or a ring left out.
fn one_who_sleeps_for_the_mutex_is_woken() {
    all_enter(&[FIRST, SECOND]);
}

#[test]
fn threads_of_one_partition_wake_each_other() {
    all_enter(&[FIRST, FIRST]);
}

#[test] // Kills: the flag not kept by one who has slept.
fn all_who_sleep_for_the_mutex_are_woken() {
    all_enter(&[FIRST, SECOND, THIRD]);
}

#[test]
fn who_takes_over_sees_what_the_dead_did_and_says_so() {
    loom::model(|| {
        let (memory, obituary) = (memory(), Obituary::new());
        let announced = obituary.clone();
        let peer = thread::spawn(move || {
            let mutex = mutex(memory, SECOND, &Silent);
            let mut guard = mutex.lock(&mut Yield, &mut AssumeAlive).unwrap();
            add_one(&mut guard);
            core::mem::forget(guard);
            announced.announce(SECOND);
        });
        let mutex = mutex(memory, FIRST, &Silent);
        let (repaired, mut guard) = match mutex.lock(&mut Yield, &mut obituary.clone()) {
            Ok(guard) => (false, guard),
            Err(LockError::OwnerDied(guard)) => (true, guard),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(count(guard.window().into()), u8::from(repaired));
        guard.make_consistent();
        guard.unlock().unwrap();
        peer.join().unwrap();
    });
}

#[test] // Kills: Acquire in `exchange`, where it takes over.
fn who_takes_over_sees_what_was_done_before_the_dead() {
    loom::model(|| {
        let memory = memory();
        let peer = thread::spawn(move || {
            enter(&mutex(memory, THIRD, &Silent), &mut Yield);
            // It dies without a trace but this one: its death is known by the clock.
            core::mem::forget(mutex(memory, SECOND, &Silent).try_lock(&mut AssumeAlive));
        });
        let mutex = mutex(memory, FIRST, &Silent);
        yields(|| mutex.owner() == Ok(Some(SECOND)));
        let Err(LockError::OwnerDied(mut guard)) = mutex.try_lock(&mut Dead(&[SECOND])) else {
            panic!("no word of the death");
        };
        assert_eq!(count(guard.window().into()), 1);
        drop(guard);
        peer.join().unwrap();
    });
}

#[test]
fn one_of_two_takes_over_and_the_other_waits_for_it() {
    loom::model(|| {
        let memory = memory();
        core::mem::forget(mutex(memory, THIRD, &Silent).try_lock(&mut AssumeAlive));
        let repair = move |incarnation| {
            let mutex = mutex(memory, incarnation, &Silent);
            let (told, mut guard) = match mutex.lock(&mut Yield, &mut Dead(&[THIRD])) {
                Ok(guard) => (false, guard),
                Err(LockError::OwnerDied(guard)) => (true, guard),
                Err(error) => panic!("{error}"),
            };
            add_one(&mut guard);
            guard.make_consistent();
            told
        };
        let peer = thread::spawn(move || repair(SECOND));
        let ours = repair(FIRST);
        assert_ne!(ours, peer.join().unwrap(), "both, or neither, were told");
        let mutex = mutex(memory, FIRST, &Silent);
        assert_eq!(count_of(&mutex), 2);
    });
}

#[test] // Kills: Acquire and Release in `health::put_incarnation`.
fn one_that_is_late_leaves_the_suspicion_to_the_next_owner() {
    loom::model(|| {
        let memory = memory();
        // It died while it repaired: the bytes are suspect on its account.
        let dead = mutex(memory, FIRST, &Silent);
        core::mem::forget(dead.try_lock(&mut AssumeAlive));
        memory.word(4).store(FIRST.word(), Relaxed);
        let late = thread::spawn(move || {
            let mutex = mutex(memory, SECOND, &Silent);
            core::mem::forget(mutex.try_lock(&mut Dead(&[FIRST])));
        });
        let mutex = mutex(memory, THIRD, &Silent);
        let taken = mutex.try_lock(&mut Dead(&[FIRST, SECOND]));
        late.join().unwrap();
        match taken {
            Err(LockError::OwnerDied(guard)) => {
                assert_eq!(memory.word(4).load(Relaxed), THIRD.word());
                drop(guard);
            }
            Err(LockError::Failed(LockFailure::Busy)) => {} // The late one was first in between.
            _ => panic!("no word of the death"),
        }
    });
}
