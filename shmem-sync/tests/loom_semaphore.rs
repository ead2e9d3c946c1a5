//! Models of the semaphore: never more inside than permits, nobody asleep for ever.
//!
//! What a permit guards is loom's plain cells, so one inside too many is a
//! reported race.
#![cfg(loom)]

use loom::thread;
use shmem_core::doorbell::Silent;
use shmem_core::primitive::{
    AtomicU32,
    Ordering::{Relaxed, Release},
};
use shmem_core::wait::{Pause, Wait};
use shmem_core::{Incarnation, Window};
use shmem_sync::raw::{DoorbellRef, RawSemaphore};
use shmem_sync::{AcquireError, AddError, AssumeAlive, Semaphore};

mod support;
use support::{heap, Dead, Kernel, Obituary, Yield};

const FIRST: Incarnation = Incarnation::first(1);
const SECOND: Incarnation = Incarnation::first(2);
const THIRD: Incarnation = Incarnation::first(3);

/// A semaphore of so many permits, and as many words or one more.
fn memory(permits: usize) -> Window<'static> {
    let memory = heap(Semaphore::segment_len(permits));
    semaphore(memory, FIRST, &Silent).add(permits).unwrap();
    memory
}

fn semaphore<'m>(
    memory: Window<'m>,
    incarnation: Incarnation,
    bell: DoorbellRef<'m>,
) -> Semaphore<'m> {
    Semaphore::attach(memory, incarnation, bell).unwrap()
}

/// The same without permits that release themselves.
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

#[test] // Kills: Acquire in `take`, Release in `exchange_for_free` of a word without the flag.
fn who_has_the_permit_sees_what_the_last_one_did() {
    loom::model(|| {
        let (memory, data) = (memory(1), heap(8));
        let turn =
            move |incarnation| enter(&semaphore(memory, incarnation, &Silent), &mut Yield, data);
        let peer = thread::spawn(move || turn(SECOND));
        turn(FIRST);
        peer.join().unwrap();
        assert_count(data, 2);
    });
}

/// A model in which at most so many times one thread goes on before another has to wait.
fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Every one of `lives` enters, and sleeps as long as it takes.
fn all_enter(preemptions: usize, incarnations: &'static [Incarnation]) {
    bounded(preemptions, move || {
        let (memory, data, kernel) = (memory(1), heap(8), Kernel::new());
        let turn = move |incarnation, kernel: Kernel| {
            let semaphore = semaphore(memory, incarnation, &kernel);
            enter(&semaphore, &mut kernel.clone(), data);
        };
        let turns = incarnations[1..].iter().map(|&incarnation| {
            let kernel = kernel.clone();
            thread::spawn(move || turn(incarnation, kernel))
        });
        let threads: Vec<_> = turns.collect();
        turn(incarnations[0], kernel);
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

#[test] // Kills: a permit taken after a sleep without the flag.
fn two_sleepers_are_woken_one_after_the_other() {
    // Enough for it to fail; more takes minutes.
    all_enter(2, &[FIRST, SECOND, THIRD]);
}

/// Says once that it is time to sleep, and then that it is too late.
struct Hasty(u32);

impl Wait for Hasty {
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
fn a_giver_changes_the_rings_that_the_sleeper_saw() {
    loom::model(|| {
        let (memory, data, kernel) = (memory(2), heap(8), Kernel::new());
        let ours = semaphore(memory, FIRST, &kernel);
        let theirs = raw(memory, SECOND, &kernel);
        let permit = ours.acquire(&mut Hasty(0), &mut AssumeAlive).unwrap();
        let place = theirs.acquire(&mut Hasty(0), &mut AssumeAlive).unwrap();
        // Both words have the flag.
        let late = ours.acquire(&mut Hasty(0), &mut AssumeAlive).err();
        assert_eq!(late, Some(AcquireError::TimedOut));
        let bell = kernel.clone();
        let peer = thread::spawn(move || {
            add_one(data);
            // SAFETY: acquired above.
            unsafe { raw(memory, SECOND, &bell).release(place) }.unwrap();
        });
        // `rings` is changed here, too, and the sleeper is the only one who knows.
        permit.release().unwrap();
        let first = ours.acquire(&mut kernel.clone(), &mut AssumeAlive).unwrap();
        let second = ours.acquire(&mut kernel.clone(), &mut AssumeAlive).unwrap();
        core::mem::forget((first, second)); // A failure would drop them.
        assert_count(data, 1);
        peer.join().unwrap();
    });
}

#[test] // Kills: the flag lost when a permit is consumed, or when one is added.
fn a_sleeper_is_woken_by_a_permit_that_is_added() {
    loom::model(|| {
        let (memory, data, kernel) = (memory(1), heap(8), Kernel::new());
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

#[test] // Kills: a ring not passed on by one that goes without a permit.
fn who_gives_up_passes_the_ring_on() {
    // Enough for it to fail; more takes minutes.
    bounded(1, || {
        let (memory, kernel) = (memory(1), Kernel::new());
        let holder = semaphore(memory, FIRST, &kernel);
        let permit = holder.acquire(&mut Hasty(0), &mut AssumeAlive).unwrap();
        let sleeper = |incarnation, mut wait: Patience| {
            let kernel = kernel.clone();
            thread::spawn(move || {
                let semaphore = semaphore(memory, incarnation, &kernel);
                drop(semaphore.acquire(&mut wait, &mut AssumeAlive));
            })
        };
        let patient = sleeper(SECOND, Patience(kernel.clone(), u32::MAX));
        let hasty = sleeper(THIRD, Patience(kernel.clone(), 1));
        thread::yield_now();
        permit.release().unwrap();
        // Perhaps before whoever was woken, and without the flag.
        drop(holder.try_acquire(&mut AssumeAlive));
        patient.join().unwrap();
        hasty.join().unwrap();
    });
}

/// Gives up after so many sleeps.
struct Patience(Kernel, u32);

impl Wait for Patience {
    fn pause(&mut self) -> Pause {
        match self.1 {
            0 => Pause::TimedOut,
            _ => Pause::Sleep,
        }
    }

    fn sleep(&mut self, rings: &AtomicU32, seen: u32) {
        self.1 -= 1;
        self.0.sleep(rings, seen);
    }
}

#[test] // Kills: Acquire in `take`, from a dead incarnation.
fn who_inherits_a_permit_sees_what_the_dead_one_was_given() {
    loom::model(|| {
        let (memory, data) = (memory(1), heap(8));
        let peer = thread::spawn(move || {
            enter(&semaphore(memory, SECOND, &Silent), &mut Yield, data);
            let dead = semaphore(memory, THIRD, &Silent);
            let _ = dead.try_acquire(&mut AssumeAlive).map(core::mem::forget);
        });
        let heir = semaphore(memory, FIRST, &Silent);
        let permit = heir.acquire(&mut Yield, &mut Dead(&[THIRD])).unwrap();
        add_one(data);
        drop(permit);
        peer.join().unwrap();
        assert_count(data, 2);
    });
}

#[test]
fn one_heir_gets_the_permit_of_the_dead() {
    loom::model(|| {
        let (memory, data) = (memory(1), heap(8));
        let dead = semaphore(memory, THIRD, &Silent);
        core::mem::forget(dead.try_acquire(&mut AssumeAlive).unwrap());
        add_one(data);
        let obituary = Obituary::new();
        let heir = move |incarnation, mut obituary: Obituary| {
            let semaphore = semaphore(memory, incarnation, &Silent);
            let permit = semaphore.acquire(&mut Yield, &mut obituary).unwrap();
            add_one(data);
            permit.release().unwrap();
        };
        let theirs = obituary.clone();
        let peer = thread::spawn(move || heir(SECOND, theirs));
        obituary.announce(THIRD);
        heir(FIRST, obituary);
        peer.join().unwrap();
        assert_count(data, 3);
    });
}

#[test]
fn two_that_add_at_once_add_all_or_nothing() {
    loom::model(|| {
        let memory = heap(Semaphore::segment_len(2));
        let add = move |incarnation| {
            let added = semaphore(memory, incarnation, &Silent).add(2);
            assert_ne!(added, Err(AddError::Evicted), "a permit was not seen");
            added.is_ok()
        };
        let peer = thread::spawn(move || add(SECOND));
        let ours = add(FIRST);
        let theirs = peer.join().unwrap();
        assert!(!(ours && theirs));
        let semaphore = semaphore(memory, FIRST, &Silent);
        let permits = semaphore.permits();
        assert_eq!(permits, semaphore.available());
        assert_eq!(permits, if ours || theirs { 2 } else { 0 });
    });
}

#[test]
fn who_reserves_after_a_dead_adder_sees_its_permit() {
    const PERMIT: usize = 128;
    const FREE: u32 = 1;
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let memory = heap(Semaphore::segment_len(1));
        // It reserved the place before, puts a permit there, and dies.
        memory.word(PERMIT + 4).store(THIRD.word(), Relaxed);
        let obituary = Obituary::new();
        let (announced, mut known) = (obituary.clone(), obituary);
        let dying = thread::spawn(move || {
            let put = memory
                .word(PERMIT)
                .compare_exchange(0, FREE, Release, Relaxed);
            put.unwrap();
            announced.announce(THIRD);
        });
        let heir = thread::spawn(move || {
            let semaphore = semaphore(memory, SECOND, &Silent);
            if let Ok(permit) = semaphore.try_acquire(&mut known) {
                core::mem::forget(permit);
            };
        });
        let added = semaphore(memory, FIRST, &Silent).add(1);
        assert_ne!(added, Err(AddError::Evicted));
        dying.join().unwrap();
        heir.join().unwrap();
    });
}
