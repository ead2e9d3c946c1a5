//! Models of the semaphore: there are never more holders than permits, and no partition sleeps
//! permanently.
//!
//! A permit guards loom's plain cells, so loom reports a race if there are too many holders.
#![cfg(loom)]

use loom::thread;
use shmem_core::doorbell::NoDoorbell;
use shmem_core::primitive::{
    AtomicU32,
    Ordering::{Relaxed, Release},
};
use shmem_core::wait::{Pause, Wait};
use shmem_core::{Incarnation, Window};
use shmem_sync::raw::{DoorbellRef, RawSemaphore};
use shmem_sync::{AcquireError, AddError, AssumeAlive, Semaphore};

mod support;
use support::{heap, Dead, DeathNotice, FutexModel, Yield};

const FIRST: Incarnation = Incarnation::first(1);
const SECOND: Incarnation = Incarnation::first(2);
const THIRD: Incarnation = Incarnation::first(3);

/// Returns a semaphore with this number of permits.
fn memory(permits: usize) -> Window<'static> {
    let memory = heap(Semaphore::segment_len(permits));
    semaphore(memory, FIRST, &NoDoorbell).add(permits).unwrap();
    memory
}

fn semaphore<'m>(
    memory: Window<'m>,
    incarnation: Incarnation,
    bell: DoorbellRef<'m>,
) -> Semaphore<'m> {
    Semaphore::attach(memory, incarnation, bell).unwrap()
}

/// Returns a handle without permits that release themselves.
fn raw<'m>(
    memory: Window<'m>,
    incarnation: Incarnation,
    bell: DoorbellRef<'m>,
) -> RawSemaphore<'m> {
    RawSemaphore::attach(memory, incarnation, bell).unwrap()
}

/// Adds one to what the permit guards, in two steps.
fn add_one(data: Window<'_>) {
    let mut count = [0];
    data.read(0, &mut count);
    data.write(0, &[count[0] + 1]);
}

fn enter(semaphore: &Semaphore<'_>, wait: &mut impl Wait, data: Window<'_>) {
    let permit = semaphore.acquire(wait, &mut AssumeAlive).unwrap();
    add_one(data);
    permit.release().unwrap();
}

fn assert_count(data: Window<'_>, expected: u8) {
    let mut count = [0];
    data.read(0, &mut count);
    assert_eq!(count[0], expected);
}

#[test] // Kills: Acquire in `try_take`, Release in `exchange_for_free` of a word without the flag.
fn the_holder_of_a_permit_sees_the_work_of_the_last_holder() {
    loom::model(|| {
        let (memory, data) = (memory(1), heap(8));
        let enter_once = move |incarnation| {
            enter(
                &semaphore(memory, incarnation, &NoDoorbell),
                &mut Yield,
                data,
            )
        };
        let peer = thread::spawn(move || enter_once(SECOND));
        enter_once(FIRST);
        peer.join().unwrap();
        assert_count(data, 2);
    });
}

/// Checks a model in which threads are preempted at most `preemptions` times.
fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Each of `incarnations` enters, and sleeps until it can.
fn all_enter(preemptions: usize, incarnations: &'static [Incarnation]) {
    bounded(preemptions, move || {
        let (memory, data, kernel) = (memory(1), heap(8), FutexModel::new());
        let enter_once = move |incarnation, kernel: FutexModel| {
            let semaphore = semaphore(memory, incarnation, &kernel);
            enter(&semaphore, &mut kernel.clone(), data);
        };
        let others = incarnations[1..].iter().map(|&incarnation| {
            let kernel = kernel.clone();
            thread::spawn(move || enter_once(incarnation, kernel))
        });
        let threads: Vec<_> = others.collect();
        enter_once(incarnations[0], kernel);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_count(data, incarnations.len() as u8);
    });
}

#[test]
fn a_sleeper_is_woken_by_the_permit_it_missed() {
    all_enter(3, &[FIRST, SECOND]);
}

#[test] // Kills: a permit taken without the flag after a sleep.
fn two_sleepers_are_woken_one_after_the_other() {
    // Enough to make a wrong model fail; more takes minutes.
    all_enter(2, &[FIRST, SECOND, THIRD]);
}

/// Sleeps once, then times out.
struct OneSleep(u32);

impl Wait for OneSleep {
    fn pause(&mut self) -> Pause {
        self.0 += 1;
        match self.0 {
            1 => Pause::Sleep,
            _ => Pause::TimedOut,
        }
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {}
}

#[test] // Kills: Release in `arm`, AcqRel in `exchange_for_free` of a word with the flag.
fn a_release_changes_the_rings_that_the_sleeper_loaded() {
    loom::model(|| {
        let (memory, data, kernel) = (memory(2), heap(8), FutexModel::new());
        let ours = semaphore(memory, FIRST, &kernel);
        let theirs = raw(memory, SECOND, &kernel);
        let permit = ours.acquire(&mut OneSleep(0), &mut AssumeAlive).unwrap();
        let place = theirs.acquire(&mut OneSleep(0), &mut AssumeAlive).unwrap();
        // Both words have the flag.
        let late = ours.acquire(&mut OneSleep(0), &mut AssumeAlive).err();
        assert_eq!(late, Some(AcquireError::TimedOut));
        let bell = kernel.clone();
        let peer = thread::spawn(move || {
            add_one(data);
            // SAFETY: acquired above.
            unsafe { raw(memory, SECOND, &bell).release(place) }.unwrap();
        });
        // `ring_count` is changed here, too, but only the sleeper is meant.
        permit.release().unwrap();
        let first = ours.acquire(&mut kernel.clone(), &mut AssumeAlive).unwrap();
        let second = ours.acquire(&mut kernel.clone(), &mut AssumeAlive).unwrap();
        core::mem::forget((first, second)); // A failed assertion would drop them.
        assert_count(data, 1);
        peer.join().unwrap();
    });
}

#[test] // Kills: the flag lost when a permit is consumed or added.
fn a_sleeper_is_woken_by_a_permit_that_is_added() {
    loom::model(|| {
        let (memory, data, kernel) = (memory(1), heap(8), FutexModel::new());
        let bell = kernel.clone();
        let place = raw(memory, SECOND, &bell)
            .try_acquire(&mut AssumeAlive)
            .unwrap();
        let peer = thread::spawn(move || {
            let theirs = raw(memory, SECOND, &bell);
            // SAFETY: acquired above.
            unsafe { theirs.consume(place) }.unwrap();
            data.write(0, &[1]);
            theirs.add(1).unwrap();
        });
        let semaphore = semaphore(memory, FIRST, &kernel);
        let permit = semaphore
            .acquire(&mut kernel.clone(), &mut AssumeAlive)
            .unwrap();
        assert_count(data, 1);
        permit.consume().unwrap();
        peer.join().unwrap();
        assert_eq!(semaphore.permits(), 0);
    });
}

#[test] // Kills: a missing ring of a partition that leaves without a permit.
fn a_waiter_that_gives_up_rings_for_the_others() {
    // Enough to make a wrong model fail; more takes minutes.
    bounded(1, || {
        let (memory, kernel) = (memory(1), FutexModel::new());
        let holder = semaphore(memory, FIRST, &kernel);
        let permit = holder.acquire(&mut OneSleep(0), &mut AssumeAlive).unwrap();
        let sleeper = |incarnation, mut wait: LimitedSleeps| {
            let kernel = kernel.clone();
            thread::spawn(move || {
                let semaphore = semaphore(memory, incarnation, &kernel);
                drop(semaphore.acquire(&mut wait, &mut AssumeAlive));
            })
        };
        let patient = sleeper(SECOND, LimitedSleeps(kernel.clone(), u32::MAX));
        let hasty = sleeper(THIRD, LimitedSleeps(kernel.clone(), 1));
        thread::yield_now();
        permit.release().unwrap();
        // Perhaps before the partition that was woken, and without the flag.
        drop(holder.try_acquire(&mut AssumeAlive));
        patient.join().unwrap();
        hasty.join().unwrap();
    });
}

/// Times out after this number of sleeps.
struct LimitedSleeps(FutexModel, u32);

impl Wait for LimitedSleeps {
    fn pause(&mut self) -> Pause {
        match self.1 {
            0 => Pause::TimedOut,
            _ => Pause::Sleep,
        }
    }

    fn sleep(&mut self, ring_count: &AtomicU32, seen: u32) {
        self.1 -= 1;
        self.0.sleep(ring_count, seen);
    }
}

#[test] // Kills: Acquire in `try_take`, from a dead incarnation.
fn a_successor_sees_the_work_before_the_dead_holder() {
    loom::model(|| {
        let (memory, data) = (memory(1), heap(8));
        let peer = thread::spawn(move || {
            enter(&semaphore(memory, SECOND, &NoDoorbell), &mut Yield, data);
            let dead = semaphore(memory, THIRD, &NoDoorbell);
            let _ = dead.try_acquire(&mut AssumeAlive).map(core::mem::forget);
        });
        let successor = semaphore(memory, FIRST, &NoDoorbell);
        let permit = successor.acquire(&mut Yield, &mut Dead(&[THIRD])).unwrap();
        add_one(data);
        drop(permit);
        peer.join().unwrap();
        assert_count(data, 2);
    });
}

#[test]
fn one_successor_gets_the_permit_of_a_dead_holder() {
    loom::model(|| {
        let (memory, data) = (memory(1), heap(8));
        let dead = semaphore(memory, THIRD, &NoDoorbell);
        core::mem::forget(dead.try_acquire(&mut AssumeAlive).unwrap());
        add_one(data);
        let notice = DeathNotice::new();
        let successor = move |incarnation, mut notice: DeathNotice| {
            let semaphore = semaphore(memory, incarnation, &NoDoorbell);
            let permit = semaphore.acquire(&mut Yield, &mut notice).unwrap();
            add_one(data);
            permit.release().unwrap();
        };
        let theirs = notice.clone();
        let peer = thread::spawn(move || successor(SECOND, theirs));
        notice.announce(THIRD);
        successor(FIRST, notice);
        peer.join().unwrap();
        assert_count(data, 3);
    });
}

#[test]
fn two_partitions_that_add_at_once_each_add_all_or_nothing() {
    loom::model(|| {
        let memory = heap(Semaphore::segment_len(2));
        let add = move |incarnation| {
            let added = semaphore(memory, incarnation, &NoDoorbell).add(2);
            assert_ne!(added, Err(AddError::Evicted), "a permit was not seen");
            added.is_ok()
        };
        let peer = thread::spawn(move || add(SECOND));
        let ours = add(FIRST);
        let theirs = peer.join().unwrap();
        assert!(!(ours && theirs));
        let semaphore = semaphore(memory, FIRST, &NoDoorbell);
        let permits = semaphore.permits();
        assert_eq!(permits, semaphore.available());
        assert_eq!(permits, if ours || theirs { 2 } else { 0 });
    });
}

#[test]
fn a_reservation_after_a_dead_adder_sees_its_permit() {
    const PERMIT: usize = 128;
    const FREE: u32 = 1;
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let memory = heap(Semaphore::segment_len(1));
        // It has reserved the place, adds a permit there, and dies.
        memory.word(PERMIT + 4).store(THIRD.word(), Relaxed);
        let notice = DeathNotice::new();
        let (announced, mut known) = (notice.clone(), notice);
        let dying = thread::spawn(move || {
            let put = memory
                .word(PERMIT)
                .compare_exchange(0, FREE, Release, Relaxed);
            put.unwrap();
            announced.announce(THIRD);
        });
        let successor = thread::spawn(move || {
            let semaphore = semaphore(memory, SECOND, &NoDoorbell);
            if let Ok(permit) = semaphore.try_acquire(&mut known) {
                core::mem::forget(permit);
            };
        });
        let added = semaphore(memory, FIRST, &NoDoorbell).add(1);
        assert_ne!(added, Err(AddError::Evicted));
        dying.join().unwrap();
        successor.join().unwrap();
    });
}
