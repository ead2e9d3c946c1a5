//! Models of the mutex: one partition is inside at a time, no partition sleeps permanently, and
//! what dead partitions leave.
//!
//! The protected bytes are loom's plain cells. Loom reports a race if two are inside at once, or an
//! owner does not see the work of the last one.
#![cfg(loom)]

use loom::thread;
use shmem_core::doorbell::NoDoorbell;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::Wait;
use shmem_core::{Incarnation, Window};
use shmem_sync::raw::{DoorbellRef, RawMutex};
use shmem_sync::{AssumeAlive, LockError, LockFailure, Mutex};

mod support;
use support::{add_one, count, heap, yield_until, Dead, DeathNotice, FutexModel, Yield};

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

/// Returns the count in a mutex that is free.
fn count_of(mutex: &Mutex<'_, [u8]>) -> u8 {
    count(mutex.try_lock(&mut AssumeAlive).unwrap().window().into())
}

#[test] // Kills: Acquire in `exchange`, Release in `free`.
fn an_owner_sees_the_work_of_the_last_owner() {
    loom::model(|| {
        let memory = memory();
        let peer = thread::spawn(move || enter(&mutex(memory, SECOND, &NoDoorbell), &mut Yield));
        let mutex = mutex(memory, FIRST, &NoDoorbell);
        enter(&mutex, &mut Yield);
        peer.join().unwrap();
        assert_eq!(count_of(&mutex), 2);
    });
}

/// Each of `incarnations` enters, and sleeps until it can.
fn all_enter(incarnations: &'static [Incarnation]) {
    loom::model(move || {
        let (memory, kernel) = (memory(), FutexModel::new());
        let enter_once = move |incarnation, kernel: FutexModel| {
            enter(&mutex(memory, incarnation, &kernel), &mut kernel.clone());
        };
        let threads: Vec<_> = incarnations[1..]
            .iter()
            .map(|&incarnation| {
                let kernel = kernel.clone();
                thread::spawn(move || enter_once(incarnation, kernel))
            })
            .collect();
        enter_once(incarnations[0], kernel);
        for thread in threads {
            thread.join().unwrap();
        }
        let mutex = mutex(memory, FIRST, &NoDoorbell);
        let mut inside = mutex.try_lock(&mut AssumeAlive).unwrap();
        assert_eq!(
            usize::from(count(inside.window().into())),
            incarnations.len()
        );
    });
}

#[test] // Kills: the flag not set before a sleep, or a missing ring.
fn a_sleeper_for_the_mutex_is_woken() {
    all_enter(&[FIRST, SECOND]);
}

#[test]
fn threads_of_one_partition_wake_each_other() {
    all_enter(&[FIRST, FIRST]);
}

#[test] // Kills: the flag not kept by a partition that has slept.
fn all_sleepers_for_the_mutex_are_woken() {
    all_enter(&[FIRST, SECOND, THIRD]);
}

#[test]
fn a_successor_sees_the_work_of_a_dead_owner_and_is_warned() {
    loom::model(|| {
        let (memory, notice) = (memory(), DeathNotice::new());
        let announced = notice.clone();
        let peer = thread::spawn(move || {
            let mutex = mutex(memory, SECOND, &NoDoorbell);
            let mut guard = mutex.lock(&mut Yield, &mut AssumeAlive).unwrap();
            add_one(&mut guard);
            core::mem::forget(guard);
            announced.announce(SECOND);
        });
        let mutex = mutex(memory, FIRST, &NoDoorbell);
        let (repaired, mut guard) = match mutex.lock(&mut Yield, &mut notice.clone()) {
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
fn a_successor_sees_the_work_before_the_dead_owner() {
    loom::model(|| {
        let memory = memory();
        let peer = thread::spawn(move || {
            enter(&mutex(memory, THIRD, &NoDoorbell), &mut Yield);
            // Only this shows its death, as if it were known by the clock.
            core::mem::forget(mutex(memory, SECOND, &NoDoorbell).try_lock(&mut AssumeAlive));
        });
        let mutex = mutex(memory, FIRST, &NoDoorbell);
        yield_until(|| mutex.owner() == Ok(Some(SECOND)));
        let Err(LockError::OwnerDied(mut guard)) = mutex.try_lock(&mut Dead(&[SECOND])) else {
            panic!("no warning of the death");
        };
        assert_eq!(count(guard.window().into()), 1);
        drop(guard);
        peer.join().unwrap();
    });
}

#[test]
fn one_of_two_waiters_takes_over_and_the_other_waits_for_it() {
    loom::model(|| {
        let memory = memory();
        core::mem::forget(mutex(memory, THIRD, &NoDoorbell).try_lock(&mut AssumeAlive));
        let repair = move |incarnation| {
            let mutex = mutex(memory, incarnation, &NoDoorbell);
            let (warned, mut guard) = match mutex.lock(&mut Yield, &mut Dead(&[THIRD])) {
                Ok(guard) => (false, guard),
                Err(LockError::OwnerDied(guard)) => (true, guard),
                Err(error) => panic!("{error}"),
            };
            add_one(&mut guard);
            guard.make_consistent();
            warned
        };
        let peer = thread::spawn(move || repair(SECOND));
        let ours = repair(FIRST);
        assert_ne!(ours, peer.join().unwrap(), "both were warned, or neither");
        let mutex = mutex(memory, FIRST, &NoDoorbell);
        assert_eq!(count_of(&mutex), 2);
    });
}

#[test] // Kills: Acquire and Release in `health::put_incarnation`.
fn a_late_owner_leaves_suspect_bytes_to_the_next_owner() {
    loom::model(|| {
        let memory = memory();
        // It died while it repaired: `health` names it.
        let dead = mutex(memory, FIRST, &NoDoorbell);
        core::mem::forget(dead.try_lock(&mut AssumeAlive));
        memory.word(4).store(FIRST.word(), Relaxed);
        let late = thread::spawn(move || {
            let mutex = mutex(memory, SECOND, &NoDoorbell);
            core::mem::forget(mutex.try_lock(&mut Dead(&[FIRST])));
        });
        let mutex = mutex(memory, THIRD, &NoDoorbell);
        let taken = mutex.try_lock(&mut Dead(&[FIRST, SECOND]));
        late.join().unwrap();
        match taken {
            Err(LockError::OwnerDied(guard)) => {
                assert_eq!(memory.word(4).load(Relaxed), THIRD.word());
                drop(guard);
            }
            Err(LockError::Failed(LockFailure::Busy)) => {} // The late owner took it over first.
            _ => panic!("no warning of the death"),
        }
    });
}
