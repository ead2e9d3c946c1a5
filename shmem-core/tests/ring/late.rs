//! `head` and `tail` in memory lag the positions of their ends; with the feature `small`
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
fn the_consumer_stores_the_head_after_each_eighth() {
    let heap = heap(1024);
    let (mut producer, mut consumer) = ends(&heap);
    for _ in 0..20 {
        producer.push(&[7; 8]).unwrap();
    }
    let mut heads = Vec::new();
    for _ in 0..20 {
        assert_eq!(pop(&mut consumer), [7; 8]);
        heads.push(heap.window().word(HEAD).load(Relaxed));
    }
    heads.dedup();
    assert_eq!(heads, [0, 1024 / 8, 2 * 1024 / 8]);
}

#[test]
fn the_producer_stores_the_tail_after_each_eighth_and_when_dropped() {
    let heap = heap(1024);
    let (mut producer, _consumer) = ends(&heap);
    let mut tails = Vec::new();
    for _ in 0..20 {
        producer.push(&[7; 8]).unwrap();
        tails.push(heap.window().word(0).load(Relaxed));
    }
    tails.dedup();
    assert_eq!(tails, [0, 1024 / 8, 2 * 1024 / 8]);
    // A successor finds all records although `tail` lags.
    let next = ring(&heap)
        .take_over_producer(Incarnation::first(3))
        .unwrap();
    assert_eq!(next.position(), 20 * 16);
    drop(next);
    assert_eq!(heap.window().word(0).load(Relaxed), 20 * 16);
}

#[test]
fn the_consumer_stores_the_head_before_it_rings_and_when_dropped() {
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
            assert_eq!(consumer.notify(&CheckHead(head)), Ok(true));
        }
        assert_eq!(head.load(Relaxed), 32);
    }
}

/// Checks `head` when the producer is rung.
struct CheckHead<'m>(Word<'m>);

impl Doorbell for CheckHead<'_> {
    fn ring(&self, _: &AtomicU32) {
        assert_eq!(self.0.load(Relaxed), 32);
    }
}

#[test]
fn every_call_that_finds_an_empty_ring_stores_the_head() {
    let calls: [fn(&mut Consumer<'_>) -> bool; 5] = [
        |end| end.drain(8, |_| true) == Ok(1),
        |end| end.pop(&mut [0; 8]) == Err(PopError::Empty),
        |end| end.peek().is_err(),
        |end| end.is_empty(),
        |end| !end.wait(&mut Spin::checks(1)),
    ];
    for (position, call) in calls.into_iter().enumerate() {
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
            // Drains the last record too.
            producer.push(&[7; 8]).unwrap();
        }
        assert!(call(&mut consumer));
        let head = heap.window().word(HEAD).load(Relaxed);
        assert_eq!((head, consumer.is_empty()), (consumer.position(), true));
    }
}

#[test]
fn a_new_consumer_resumes_at_the_position_although_the_head_lags() {
    for on_restart in [OnRestart::Keep, OnRestart::Discard] {
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
        let consumer = ring(&heap).take_over_consumer(Incarnation::first(2), on_restart);
        let mut consumer = consumer.unwrap();
        assert_eq!(consumer.position(), 64);
        if on_restart == OnRestart::Keep {
            assert_eq!(pop(&mut consumer), [4; 8]);
        } else {
            assert!(consumer.is_empty());
            assert_eq!(consumer.discarded(), 2);
        }
    }
}
