//! Inspection of the words of locks.
#![cfg(all(feature = "std", not(loom)))]

use shmem_core::doorbell::NoDoorbell;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::Spin;
use shmem_core::Incarnation;
use shmem_sync::inspect::{
    BakeryWords, BarrierWords, Health, Holder, MutexWords, Owner, Permit, RwLockWords,
    SemaphoreWords,
};
use shmem_sync::{AssumeAlive, BakeryMutex, Barrier, LockError, Mutex, RwLock, Semaphore};

const ONE: Incarnation = Incarnation::first(1);
const TWO: Incarnation = Incarnation::first(2);

/// Reports every incarnation as gone.
struct AllGone;

use shmem_sync::PartitionState;

mod support;
use support::{attach_bakery, attach_barrier};

impl shmem_sync::Liveness for AllGone {
    fn state(&mut self, _: Incarnation) -> PartitionState {
        PartitionState::from_is_gone(true)
    }
}

fn held(by: Incarnation) -> Owner {
    Owner {
        holder: Holder::Incarnation(by),
        contended: false,
    }
}

#[test]
fn a_mutex_shows_its_owner_and_its_health() {
    let heap = Heap::new(Mutex::<u64>::SEGMENT_LEN);
    let words = MutexWords::attach(heap.window()).unwrap();
    assert_eq!(words.owner().holder, Holder::Nobody);
    let mutex =
        |incarnation| Mutex::<u64>::attach(heap.window(), incarnation, &NoDoorbell).unwrap();
    let (one, two) = (mutex(ONE), mutex(TWO));
    std::mem::forget(one.try_lock(&mut AssumeAlive).unwrap());
    assert_eq!((words.owner(), words.health()), (held(ONE), Health::Whole));
    let Err(LockError::OwnerDied(guard)) = two.try_lock(&mut AllGone) else {
        panic!("the owner is dead");
    };
    assert_eq!(words.owner().holder, Holder::Incarnation(TWO));
    assert_eq!(words.health(), Health::Suspect);
    drop(guard);
    assert_eq!(words.health(), Health::Poisoned);
}

#[test]
fn a_bakery_shows_the_owner_and_the_tickets() {
    let heap = Heap::new(BakeryMutex::<u64>::SEGMENT_LEN);
    let words = BakeryWords::attach(heap.window()).unwrap();
    let mut one = attach_bakery::<u64>(heap.window(), ONE, 64);
    let guard = one.try_lock(&mut AssumeAlive).unwrap();
    assert_eq!(words.holder(), Holder::Incarnation(ONE));
    let entry = words.entries().next().unwrap();
    assert_eq!(
        (entry.partition, entry.incarnation),
        (1, Holder::Incarnation(ONE))
    );
    let ticket = entry.ticket.unwrap();
    assert_eq!((ticket.number, ticket.colour), (1, words.colour()));
    drop(guard);
    assert_eq!(words.holder(), Holder::Nobody);
    assert!(words.entries().all(|entry| entry.ticket.is_none()));
}

#[test]
fn a_semaphore_shows_every_permit() {
    let heap = Heap::new(Semaphore::segment_len(4));
    let words = SemaphoreWords::attach(heap.window()).unwrap();
    let semaphore = Semaphore::attach(heap.window(), ONE, &NoDoorbell).unwrap();
    semaphore.add(3).unwrap();
    let permit = semaphore.try_acquire(&mut AssumeAlive).unwrap();
    let permits: Vec<_> = words.permits().map(|(permit, _)| permit).collect();
    let expected = [Permit::Held(ONE), Permit::Free, Permit::Free, Permit::None];
    assert_eq!(permits, expected);
    drop(permit);
}

#[test]
fn a_reader_writer_lock_shows_its_readers_and_its_writer() {
    let heap = Heap::new(RwLock::<u64>::SEGMENT_LEN);
    let words = RwLockWords::attach(heap.window()).unwrap();
    let lock =
        |incarnation| RwLock::<u64>::attach(heap.window(), incarnation, &NoDoorbell).unwrap();
    let (one, two) = (lock(ONE), lock(TWO));
    let reading = one.try_read(&mut AssumeAlive).unwrap();
    let readers: Vec<_> = words.readers().collect();
    assert_eq!(readers, [Holder::Incarnation(ONE)]);
    assert_eq!(words.writer().holder, Holder::Nobody);
    drop(reading);
    let writing = two.try_write(&mut AssumeAlive).unwrap();
    assert_eq!((words.writer(), words.is_writing()), (held(TWO), true));
    assert_eq!(words.health(), Health::Whole);
    drop(writing);
}

#[test]
fn a_barrier_shows_the_parties_that_have_arrived() {
    let heap = Heap::new(Barrier::segment_len(4));
    let words = BarrierWords::attach(heap.window()).unwrap();
    assert_eq!((words.parties().count(), words.phase()), (0, 0));
    let party = |incarnation| attach_barrier(heap.window(), incarnation, 2, &NoDoorbell);
    let (mut one, mut two) = (party(ONE), party(TWO));
    assert_eq!(one.try_wait(&mut AssumeAlive), Ok(None));
    two.wait(&mut Spin::checks(1), &mut AssumeAlive).unwrap();
    let parties: Vec<_> = words.parties().collect();
    let arrived: Vec<_> = parties.iter().map(|p| (p.partition, p.arrived)).collect();
    assert_eq!((arrived, words.phase()), (vec![(1, 1), (2, 1)], 1));
    assert_eq!(parties[0].incarnation, held(ONE));
}

#[test]
fn words_that_no_honest_partition_leaves_are_shown_as_corrupt() {
    let heap = Heap::new(2048);
    let window = heap.window();
    // No partition number; incarnation 0; a flag without an owner.
    for word in [0x100, 1 << 31 | 0x07, 1 << 31] {
        window.word(0).store(word, Relaxed);
        window.word(128).store(word, Relaxed);
        let mutex = MutexWords::attach(window).unwrap();
        assert_eq!(mutex.owner().holder, Holder::Corrupt(word));
        let barrier = BarrierWords::attach(window).unwrap();
        let party = barrier.parties().next().unwrap();
        assert_eq!(party.incarnation.holder, Holder::Corrupt(word));
        let bakery = BakeryWords::attach(window).unwrap();
        assert_eq!(bakery.holder(), Holder::Corrupt(word));
        assert_eq!(
            bakery.entries().next().unwrap().incarnation,
            Holder::Corrupt(word)
        );
        let rwlock = RwLockWords::attach(window).unwrap();
        assert_eq!(rwlock.readers().next(), Some(Holder::Corrupt(word)));
    }
    // Another partition's incarnation in the first one's entry.
    window.word(128).store(TWO.word(), Relaxed);
    let barrier = BarrierWords::attach(window).unwrap();
    let party = barrier.parties().next().unwrap();
    assert_eq!(party.incarnation.holder, Holder::Corrupt(TWO.word()));
    // A free permit for which no partition needs to wait.
    window.word(128).store(1 << 31 | 1, Relaxed);
    let semaphore = SemaphoreWords::attach(window).unwrap();
    let first = semaphore.permits().next().unwrap();
    assert_eq!(first, (Permit::Corrupt(1 << 31 | 1), true));
}

#[test]
fn a_segment_too_short_is_an_error() {
    let heap = Heap::new(64);
    let window = heap.window();
    assert!(MutexWords::attach(window).is_err());
    assert!(BakeryWords::attach(window).is_err());
    assert!(SemaphoreWords::attach(window).is_err());
    assert!(RwLockWords::attach(window).is_err());
    assert!(BarrierWords::attach(window).is_err());
}
