//! `head` and `tail` in memory lag behind their ends' positions; with the feature `small`
//! they do not.

use shmem_core::doorbell::Doorbell;
use shmem_core::mem::Word;
use shmem_core::primitive::{AtomicU32, Ordering::Relaxed};
use shmem_core::ring::{Consumer, OnRestart, PopError};
use shmem_core::wait::Spin;
use shmem_core::Incarnation;

use super::{ends, heap, pop, ring, HEAD};

const SPACE: usize = 384;

#[test]
fn space_is_given_back_by_the_eighth() {
    let heap = heap(1024);
    let (mut producer, mut consumer) = ends(&heap);
    for _ in 0..20 {
        producer.push(&[7; 8]).unwrap();
    }
    let mut given_back = Vec::new();
    for _ in 0..20 {
        assert_eq!(pop(&mut consumer), [7; 8]);
        given_back.push(heap.window().word(HEAD).load(Relaxed));
    }
    given_back.dedup();
    assert_eq!(given_back, [0, 1024 / 8, 2 * 1024 / 8]);
}

#[test]
fn the_tail_in_memory_follows_by_the_eighth_and_with_the_end() {
    let heap = heap(1024);
    let (mut producer, _consumer) = ends(&heap);
    let mut tails = Vec::new();
    for _ in 0..20 {
        producer.push(&[7; 8]).unwrap();
        tails.push(heap.window().word(0).load(Relaxed));
    }
    tails.dedup();
    assert_eq!(tails, [0, 1024 / 8, 2 * 1024 / 8]);
    // Who takes over without having been told finds all.
    let next = ring(&heap)
        .take_over_producer(Incarnation::first(3))
        .unwrap();
    assert_eq!(next.position(), 20 * 16);
    drop(next);
    assert_eq!(heap.window().word(0).load(Relaxed), 20 * 16);
}

#[test]
fn space_is_given_back_before_the_producer_is_rung_and_with_the_end() {
    for drops in [true, false] {
        let heap = heap(1024);
        let (mut producer, mut consumer) = ends(&heap);
        for _ in 0..3 {
            producer.push(&[7; 8]).unwrap();
        }
        for _ in 0..2 {
            pop(&mut consumer);
        }
        let head = heap.window().word(HEAD);
        assert_eq!(head.load(Relaxed), 0);
        if drops {
            drop(consumer);
        } else {
            // The producer sleeps.
            heap.window().word(SPACE).store(1, Relaxed);
            assert_eq!(consumer.notify(&Sees(head)), Ok(true));
        }
        assert_eq!(head.load(Relaxed), 32);
    }
}

/// Sees what a producer finds that is rung.
struct Sees<'m>(Word<'m>);

impl Doorbell for Sees<'_> {
    fn ring(&self, _: &AtomicU32) {
        assert_eq!(self.0.load(Relaxed), 32);
    }
}

#[test]
fn an_empty_ring_is_given_back_however_that_is_learnt() {
    let learn: [fn(&mut Consumer<'_>) -> bool; 5] = [
        |end| end.drain(8, |_| true) == Ok(1),
        |end| end.pop(&mut [0; 8]) == Err(PopError::Empty),
        |end| end.peek().is_err(),
        |end| end.is_empty(),
        |end| !end.wait(&mut Spin::checks(1)),
    ];
    for (position, learn) in learn.into_iter().enumerate() {
        let heap = heap(1024);
        let (mut producer, mut consumer) = ends(&heap);
        for _ in 0..3 {
            producer.push(&[7; 8]).unwrap();
        }
        for _ in 0..3 {
            pop(&mut consumer);
        }
        assert_eq!(heap.window().word(HEAD).load(Relaxed), 0);
        if position == 0 {
            // Together with the last record.
            producer.push(&[7; 8]).unwrap();
        }
        assert!(learn(&mut consumer));
        let head = heap.window().word(HEAD).load(Relaxed);
        assert_eq!((head, consumer.is_empty()), (consumer.position(), true));
    }
}

#[test]
fn a_new_consumer_goes_on_after_what_was_read_and_not_given_back() {
    for unread in [OnRestart::Keep, OnRestart::Discard] {
        let heap = heap(1024);
        let (mut producer, mut consumer) = ends(&heap);
        for n in 0..6_u8 {
            producer.push(&[n; 8]).unwrap();
        }
        for _ in 0..4 {
            pop(&mut consumer);
        }
        assert_eq!(heap.window().word(HEAD).load(Relaxed), 0);
        assert_eq!(ring(&heap).unread().count(), 2);
        std::mem::forget(consumer);
        let consumer = ring(&heap).take_over_consumer(Incarnation::first(2), unread);
        let mut consumer = consumer.unwrap();
        assert_eq!(consumer.position(), 64);
        if unread == OnRestart::Keep {
            assert_eq!(pop(&mut consumer), [4; 8]);
        } else {
            assert!(consumer.is_empty());
            assert_eq!(consumer.discarded(), 2);
        }
    }
}
