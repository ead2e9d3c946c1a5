//! A peer stores one incarnation after another that is gone: no call is held after its deadline.
#![cfg(not(loom))]

use std::mem::forget;

use shmem_core::doorbell::NoDoorbell;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::Spin;
use shmem_core::{Incarnation, Window};
use shmem_sync::layout::PERMITS;
use shmem_sync::{
    AcquireError, AssumeAlive, BakeryMutex, Liveness, LockError, LockFailure, LockResult, Mutex,
    PartitionState, RwLock, Semaphore,
};

mod support;
use support::{attach_bakery, Dead};

const US: Incarnation = Incarnation::first(1);

/// Stores another incarnation into each of its words before it reports the last one as gone, so
/// that every takeover fails. Counts how often.
struct Hostile<'m> {
    memory: Window<'m>,
    words: std::ops::Range<usize>,
    partition: u8,
    answers: u32,
    limit: u32,
}

impl<'m> Hostile<'m> {
    /// Stores incarnations of `partition` in the 32-bit words at `words`.
    fn new(heap: &'m Heap, words: std::ops::Range<usize>, partition: u8, limit: u32) -> Self {
        let hostile = Self {
            memory: heap.window(),
            words,
            partition,
            answers: 0,
            limit,
        };
        hostile.store();
        hostile
    }

    fn store(&self) {
        let incarnation = Incarnation::new(self.partition, self.answers + 1).unwrap();
        for at in self.words.clone().step_by(4) {
            self.memory.word(at).store(incarnation.word(), Relaxed);
        }
    }
}

impl Liveness for Hostile<'_> {
    fn state(&mut self, _: Incarnation) -> PartitionState {
        self.answers += 1;
        assert!(self.answers <= self.limit, "the call does not end");
        self.store();
        PartitionState::Gone
    }
}

fn past() -> Spin {
    Spin::checks(0)
}

fn is_busy<G>(taken: LockResult<G>) -> bool {
    matches!(taken, Err(LockError::Failed(LockFailure::Busy)))
}

fn is_late<G>(taken: LockResult<G>) -> bool {
    matches!(taken, Err(LockError::Failed(LockFailure::TimedOut)))
}

#[test]
fn waiting_for_a_mutex_ends_whatever_its_owner_word_names() {
    let heap = Heap::new(Mutex::<u64>::SEGMENT_LEN);
    let mutex = Mutex::<u64>::attach(heap.window(), US, &NoDoorbell).unwrap();
    let hostile = || Hostile::new(&heap, 0..4, 2, 300);
    assert!(is_busy(mutex.try_lock(&mut hostile())));
    assert!(is_late(mutex.lock(&mut past(), &mut hostile())));
    let mut long = Hostile::new(&heap, 0..4, 2, 1300);
    assert!(is_late(mutex.lock(&mut Spin::checks(1000), &mut long)));
}

#[test]
fn waiting_for_a_reader_writer_lock_ends_whatever_its_words_name() {
    let heap = Heap::new(RwLock::<u64>::SEGMENT_LEN);
    let lock = RwLock::<u64>::attach(heap.window(), US, &NoDoorbell).unwrap();
    let writers = || Hostile::new(&heap, 0..4, 2, 300);
    assert!(is_busy(lock.try_read(&mut writers())));
    assert!(is_late(lock.read(&mut past(), &mut writers())));
    assert!(is_busy(lock.try_write(&mut writers())));
    assert!(is_late(lock.write(&mut past(), &mut writers())));

    heap.window().zero(0, 640);
    let readers = || Hostile::new(&heap, 128..640, 2, 300);
    assert!(is_busy(lock.try_write(&mut readers())));
    assert!(is_late(lock.write(&mut past(), &mut readers())));
    assert!(is_busy(lock.try_read(&mut readers())));
    assert!(is_late(lock.read(&mut past(), &mut readers())));
    assert_eq!(lock.writer(), Ok(None));
}

#[test]
fn a_try_to_write_clears_the_words_of_128_readers_that_are_gone() {
    let heap = Heap::new(RwLock::<u64>::SEGMENT_LEN);
    let lock = RwLock::<u64>::attach(heap.window(), US, &NoDoorbell).unwrap();
    struct Gone;
    impl Liveness for Gone {
        fn state(&mut self, _: Incarnation) -> PartitionState {
            PartitionState::Gone
        }
    }
    for at in (128..640).step_by(4) {
        heap.window()
            .word(at)
            .store(Incarnation::first(2).word(), Relaxed);
    }
    heap.window()
        .word(0)
        .store(Incarnation::first(3).word(), Relaxed);
    assert!(lock.try_write(&mut Gone).is_ok());
}

#[test]
fn waiting_for_a_semaphore_ends_whatever_its_words_name() {
    let heap = Heap::new(Semaphore::segment_len(PERMITS));
    let semaphore = Semaphore::attach(heap.window(), US, &NoDoorbell).unwrap();
    let limit = 5 * PERMITS as u32;
    let hostile = || Hostile::new(&heap, 128..heap.window().len(), 2, limit);
    let refused = semaphore.try_acquire(&mut hostile()).err();
    assert_eq!(refused, Some(AcquireError::Busy));
    let refused = semaphore.acquire(&mut past(), &mut hostile()).err();
    assert_eq!(refused, Some(AcquireError::TimedOut));
}

#[test]
fn a_corrupt_word_hides_no_permit_after_it() {
    let heap = Heap::new(Semaphore::segment_len(PERMITS));
    let dead = Incarnation::first(2);
    let semaphore =
        |incarnation| Semaphore::attach(heap.window(), incarnation, &NoDoorbell).unwrap();
    semaphore(US).add(PERMITS).unwrap();
    for _ in 0..PERMITS {
        forget(semaphore(dead).try_acquire(&mut AssumeAlive).unwrap());
    }
    // A permit that names no incarnation, and an adder.
    heap.window().word(128).store(7, Relaxed);
    heap.window().word(128 + 8 + 4).store(7, Relaxed);
    let semaphore = semaphore(US);
    for left in (0..PERMITS).rev() {
        match semaphore.try_acquire(&mut Dead(&[dead])) {
            Ok(permit) => forget(permit),
            Err(error) => {
                assert!(matches!(error, AcquireError::Corrupt(_)), "{error}");
                assert_eq!(left, 0, "all permits but the corrupt one must be available");
            }
        }
    }
}

#[test]
fn waiting_for_a_bakery_ends_whatever_its_entries_name() {
    let heap = Heap::new(BakeryMutex::<u64>::SEGMENT_LEN);
    let mut bakery = attach_bakery::<u64>(heap.window(), US, 64);
    let entry = 128 + 8;
    for ticket in [1, !3, 1 << 2] {
        heap.window().word(entry + 4).store(ticket, Relaxed);
        let hostile = || Hostile::new(&heap, entry..entry + 4, 2, 300);
        drop(bakery.try_lock(&mut hostile()));
        drop(bakery.lock(&mut past(), &mut hostile()));
    }
}
