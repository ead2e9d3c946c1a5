//! Models of the bakery mutex: no two partitions are inside together, also when others die or give
//! up.
#![cfg(loom)]

use loom::thread;
use shmem_core::primitive::AtomicU32;
use shmem_core::primitive::Ordering::Release;
use shmem_core::wait::{Pause, Wait};
use shmem_core::{Incarnation, Window};
use shmem_sync::raw::RawBakeryMutex;
use shmem_sync::{
    AssumeAlive, AttachError, BakeryMutex, Liveness, LockError, LockFailure, Protected,
};

mod support;
use support::{add_one, attach_bakery, heap, DeathNotice, Yield};

const FIRST: Incarnation = Incarnation::first(1);
const SECOND: Incarnation = Incarnation::first(2);

const THIRD: Incarnation = Incarnation::first(3);

/// Returns a free mutex that protects a count.
fn segment() -> Window<'static> {
    heap(RawBakeryMutex::segment_len(8))
}

fn mutex_among(
    partitions: u8,
    segment: Window<'static>,
    incarnation: Incarnation,
) -> BakeryMutex<'static, [u8]> {
    attach_bakery(segment, incarnation, partitions)
}

fn mutex(segment: Window<'static>, incarnation: Incarnation) -> BakeryMutex<'static, [u8]> {
    mutex_among(2, segment, incarnation)
}

/// Sleeps at once, so that it asks its `Liveness`; no partition wakes it.
struct SleepAtOnce;

impl Wait for SleepAtOnce {
    fn pause(&mut self) -> Pause {
        Pause::Sleep
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {
        thread::yield_now();
    }
}

/// Times out after this number of pauses. Otherwise two that wait for a third could let each other
/// run endlessly.
struct Pauses(u32);

impl Wait for Pauses {
    fn pause(&mut self) -> Pause {
        if self.0 == 0 {
            return Pause::TimedOut;
        }
        self.0 -= 1;
        thread::yield_now();
        Pause::Again
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {}
}

/// Enters and leaves. Returns how many entered before.
fn pass(mutex: &mut BakeryMutex<'_, [u8]>) -> u8 {
    let mut guard = mutex.lock(&mut Yield, &mut AssumeAlive).unwrap();
    let before = add_one(&mut guard);
    guard.unlock().unwrap();
    before
}

/// As [`pass`]; also returns whether it was warned of a death.
fn pass_after_death(mutex: &mut BakeryMutex<'_, [u8]>, liveness: &mut impl Liveness) -> (u8, bool) {
    match mutex.lock(&mut SleepAtOnce, liveness) {
        Ok(mut guard) => (add_one(&mut guard), false),
        Err(LockError::OwnerDied(mut guard)) => {
            guard.make_consistent();
            (add_one(&mut guard), true)
        }
        Err(error) => panic!("{error}"),
    }
}

/// Stores a ticket of the second partition, which will not use it.
fn store_ticket(segment: Window<'_>, ticket: u32) {
    segment.word(128 + 8 + 4).store(ticket, Release);
}

#[test] // Kills: the fence.
fn two_partitions_are_never_inside_together() {
    loom::model(|| {
        let segment = segment();
        let peer = thread::spawn(move || pass(&mut mutex(segment, SECOND)));
        let ours = pass(&mut mutex(segment, FIRST));
        assert_eq!(ours + peer.join().unwrap(), 1);
    });
}

#[test] // Kills: Release in `clear_ticket`, Acquire in `blocking_ticket`.
fn the_next_owner_sees_the_work_of_the_last_owner() {
    loom::model(|| {
        let segment = segment();
        let mut first = mutex(segment, FIRST);
        let mut guard = first.lock(&mut Yield, &mut AssumeAlive).unwrap();
        let peer = thread::spawn(move || pass(&mut mutex(segment, SECOND)));
        assert_eq!(add_one(&mut guard), 0);
        guard.unlock().unwrap();
        assert_eq!(peer.join().unwrap(), 1);
    });
}

#[test] // Kills: Release in `publish_ticket`.
fn the_colour_changes_each_time_a_partition_leaves() {
    loom::model(|| {
        let segment = segment();
        let peer = thread::spawn(move || {
            let mut second = mutex(segment, SECOND);
            pass(&mut second) + pass(&mut second)
        });
        let mut first = mutex(segment, FIRST);
        let ours = pass(&mut first) + pass(&mut first);
        assert_eq!(ours + peer.join().unwrap(), 1 + 2 + 3);
    });
}

#[test]
fn three_partitions_are_never_inside_together() {
    let mut model = loom::model::Builder::new();
    // A third takes many times as long.
    model.preemption_bound = Some(model.preemption_bound.unwrap_or(2).min(2));
    model.check(|| {
        let segment = segment();
        let pass = move |incarnation| {
            let mut mutex = mutex_among(3, segment, incarnation);
            let taken = mutex.lock(&mut Pauses(2), &mut AssumeAlive);
            let passed = taken.map(|mut guard| add_one(&mut guard)).is_ok();
            u8::from(passed)
        };
        let peers = [SECOND, THIRD].map(|incarnation| thread::spawn(move || pass(incarnation)));
        let ours = pass(FIRST);
        let theirs = peers.map(|peer| peer.join().unwrap());
        let mut inside = [0];
        segment.read(segment.len() - 8, &mut inside);
        assert_eq!(inside[0], ours + theirs[0] + theirs[1]);
    });
}

#[test]
fn a_partition_that_gives_up_does_not_disturb_the_others() {
    loom::model(|| {
        let segment = segment();
        let peer = thread::spawn(move || {
            let mut second = mutex(segment, SECOND);
            let tried = second.try_lock(&mut AssumeAlive);
            let tried = tried.map(|mut guard| add_one(&mut guard)).ok();
            (tried, pass(&mut second))
        });
        let ours = pass(&mut mutex(segment, FIRST));
        let (tried, passed) = peer.join().unwrap();
        match tried {
            Some(tried) => assert_eq!(ours + tried + passed, 1 + 2),
            None => assert_eq!(ours + passed, 1),
        }
    });
}

#[test]
fn a_waiter_is_warned_of_a_dead_holder_and_sees_its_work() {
    loom::model(|| {
        let segment = segment();
        let death = DeathNotice::new();
        let mut liveness = death.clone();
        let mut second = mutex(segment, SECOND);
        let mut guard = second.lock(&mut Yield, &mut AssumeAlive).unwrap();
        let peer =
            thread::spawn(move || pass_after_death(&mut mutex(segment, FIRST), &mut liveness));
        add_one(&mut guard);
        core::mem::forget(guard);
        death.announce(SECOND);
        assert_eq!(peer.join().unwrap(), (1, true));
    });
}

#[test]
fn a_partition_that_dies_while_it_draws_is_passed_over() {
    loom::model(|| {
        let segment = segment();
        let death = DeathNotice::new();
        let mut liveness = death.clone();
        let peer = thread::spawn(move || {
            pass(&mut mutex(segment, SECOND));
            store_ticket(segment, 1); // Being drawn.
            death.announce(SECOND);
        });
        let (_, warned) = pass_after_death(&mut mutex(segment, FIRST), &mut liveness);
        assert!(!warned);
        peer.join().unwrap();
    });
}

#[test]
fn a_later_incarnation_and_a_waiter_for_the_earlier_are_not_inside_together() {
    loom::model(|| {
        let segment = segment();
        let death = DeathNotice::new();
        let mut liveness = death.clone();
        let peer = thread::spawn(move || {
            let mut second = mutex(segment, SECOND);
            let earlier = pass(&mut second);
            store_ticket(segment, 1 << 2); // White, before every other ticket.
            death.announce(SECOND);
            let mut later = mutex(segment, Incarnation::new(2, 2).unwrap());
            earlier + pass_after_death(&mut later, &mut death.clone()).0
        });
        let (ours, _) = pass_after_death(&mut mutex(segment, FIRST), &mut liveness);
        assert_eq!(ours + peer.join().unwrap(), 1 + 2);
    });
}

#[test] // Kills: Acquire in `is_waiting`.
fn a_restart_after_a_death_inside_evicts_no_partition() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let segment = segment();
        let mut dead = mutex(segment, SECOND);
        core::mem::forget(dead.lock(&mut Yield, &mut AssumeAlive).unwrap());
        let restarted = thread::spawn(move || {
            let mut mutex = mutex(segment, Incarnation::new(2, 2).unwrap());
            drop(mutex.lock(&mut Pauses(1), &mut AssumeAlive));
        });
        let mut ours = mutex(segment, FIRST);
        match ours.lock(&mut Pauses(3), &mut AssumeAlive) {
            Ok(_)
            | Err(
                LockError::OwnerDied(_)
                | LockError::Failed(LockFailure::TimedOut)
                | LockError::Failed(LockFailure::Poisoned),
            ) => {}
            Err(error) => panic!("{error}"),
        }
        restarted.join().unwrap();
    });
}

#[test] // Kills: the fence in `declare`.
fn at_most_one_of_two_types_attaches_at_the_same_time() {
    fn attach<T: Protected>(
        segment: Window<'static>,
        incarnation: Incarnation,
    ) -> Result<(), AttachError> {
        // SAFETY: none is used.
        unsafe { BakeryMutex::<T>::attach(segment, incarnation, 2) }.map(drop)
    }
    loom::model(|| {
        let segment = heap(BakeryMutex::<u64>::SEGMENT_LEN);
        let peer = thread::spawn(move || attach::<[u8; 8]>(segment, SECOND));
        let ours = attach::<u64>(segment, FIRST);
        let theirs = peer.join().unwrap();
        assert!(ours.is_err() || theirs.is_err());
        // A later partition is not blocked by one whose attach failed.
        let later = attach::<u64>(segment, FIRST);
        assert_eq!(later.is_ok(), theirs.is_err());
    });
}
