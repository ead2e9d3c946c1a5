//! An end of a ring that was taken over while its incarnation was alive.
//!
//! A test stops an end by not calling it; the successor takes over, and then the test
//! calls the first one again.
#![cfg(all(feature = "alloc", not(loom)))]

use shmem_core::doorbell::NoDoorbell;
use shmem_core::mem::Heap;
use shmem_core::primitive::{AtomicU32, Ordering::Relaxed};
use shmem_core::ring::{ClaimError, Consumer, OnRestart, PopError, Producer, PushError, Ring};
use shmem_core::wait::{Pause, Spin, Wait};
use shmem_core::Incarnation;

const CAPACITY: usize = 256;
const KINDS: [OnRestart; 2] = [OnRestart::Keep, OnRestart::Discard];
const SUCCESSOR: Incarnation = Incarnation::first(3);

fn heap() -> Heap {
    Heap::new(Ring::segment_len(CAPACITY))
}

fn ring(heap: &Heap) -> Ring<'_> {
    Ring::attach(heap.window()).unwrap()
}

fn ends(heap: &Heap, on_restart: OnRestart) -> (Producer<'_>, Consumer<'_>) {
    let consumer = ring(heap)
        .claim_consumer(Incarnation::first(2), on_restart)
        .unwrap();
    (
        ring(heap).claim_producer(Incarnation::first(1)).unwrap(),
        consumer,
    )
}

/// Returns all of the ring's memory.
fn bytes(heap: &Heap) -> Vec<u8> {
    let mut bytes = vec![0; Ring::segment_len(CAPACITY)];
    heap.window().read(0, &mut bytes);
    bytes
}

/// Pops until the ring is empty. Returns the first byte of each record; a restart is 0.
fn drain(consumer: &mut Consumer<'_>) -> Vec<u8> {
    let mut found = Vec::new();
    let mut record = [0; 64];
    loop {
        match consumer.pop(&mut record) {
            Ok(_) => found.push(record[0]),
            Err(PopError::Restarted) => found.push(0),
            Err(PopError::Empty) => return found,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Checks that every call of `producer` returns `Evicted`.
fn assert_evicted(producer: &mut Producer<'_>) {
    let evicted = Some(PushError::Evicted);
    assert_eq!(producer.push(&[9]).err(), evicted);
    assert_eq!(producer.reserve(8).err(), evicted);
    assert_eq!(producer.batch().push(&[9]).err(), evicted);
    assert_eq!(producer.batch().publish().err(), evicted);
    let waited = producer.wait_for_space(8, &mut Spin::forever());
    assert_eq!(waited.err(), evicted);
    assert_eq!(producer.notify(&NoDoorbell).err(), evicted);
}

#[test]
fn every_call_of_an_evicted_producer_is_an_error_and_stores_nothing() {
    for (on_restart, expected) in KINDS.into_iter().zip([&[2, 0, 3, 4][..], &[0, 3, 4]]) {
        let heap = heap();
        let (mut late, mut consumer) = ends(&heap, on_restart);
        late.push(&[1]).unwrap();
        late.push(&[2]).unwrap();
        assert_eq!(consumer.pop(&mut [0; 8]), Ok(1));
        let mut successor = ring(&heap).take_over_producer(SUCCESSOR).unwrap();
        successor.push(&[3]).unwrap();
        let before = bytes(&heap);
        assert_evicted(&mut late);
        drop(late);
        assert_eq!(bytes(&heap), before);
        successor.push(&[4]).unwrap();
        assert_eq!(drain(&mut consumer), expected);
        let discarded = u32::from(on_restart == OnRestart::Discard);
        assert_eq!(consumer.discarded(), discarded);
    }
}

#[test]
fn a_reservation_that_was_open_at_the_takeover_is_never_committed() {
    for on_restart in KINDS {
        let heap = heap();
        let (mut late, mut consumer) = ends(&heap, on_restart);
        let mut reservation = late.reserve(40).unwrap();
        reservation.write(0, &[9; 20]);
        let mut successor = ring(&heap).take_over_producer(SUCCESSOR).unwrap();
        successor.push(&[3]).unwrap();
        successor.push(&[4]).unwrap();
        let before = bytes(&heap);
        reservation.write(0, &[9; 40]);
        assert_eq!(reservation.commit(40), Err(PushError::Evicted));
        assert_evicted(&mut late);
        assert_eq!(bytes(&heap), before);
        assert_eq!(drain(&mut consumer), [3, 4]);
    }
}

#[test]
fn a_batch_that_was_open_at_the_takeover_is_never_published() {
    for (on_restart, more) in KINDS.into_iter().flat_map(|kind| [(kind, 0), (kind, 1)]) {
        let heap = heap();
        let (mut late, mut consumer) = ends(&heap, on_restart);
        let mut batch = late.batch();
        batch.push(&[9; 8]).unwrap();
        batch.push(&[9; 8]).unwrap();
        let mut successor = ring(&heap).take_over_producer(SUCCESSOR).unwrap();
        successor.push(&[3]).unwrap();
        successor.push(&[4]).unwrap();
        let before = bytes(&heap);
        for _ in 0..more {
            assert_eq!(batch.push(&[9; 8]), Err(PushError::Evicted));
        }
        assert_eq!(batch.publish(), Err(PushError::Evicted));
        drop(late);
        assert_eq!(bytes(&heap), before);
        assert_eq!(drain(&mut consumer), [3, 4]);
    }
}

#[test]
fn every_call_of_an_evicted_consumer_is_an_error_and_stores_nothing() {
    for on_restart in KINDS {
        let heap = heap();
        let (mut producer, mut late) = ends(&heap, on_restart);
        producer.push(&[1]).unwrap();
        producer.push(&[2]).unwrap();
        assert_eq!(late.peek().unwrap().len(), 1);
        let mut successor = ring(&heap)
            .take_over_consumer(SUCCESSOR, on_restart)
            .unwrap();
        let kept: &[u8] = match on_restart {
            OnRestart::Keep => &[1, 2],
            OnRestart::Discard => &[],
        };
        assert_eq!(drain(&mut successor), kept);
        // More than a lap, so that other records now have the bytes that the late one knows.
        assert_eq!(producer.push(&[3]), Err(PushError::Restarted));
        for n in 3..40 {
            producer.push(&[n; 9]).unwrap();
            assert_eq!(drain(&mut successor), [n]);
        }
        let before = bytes(&heap);
        let evicted = Some(PopError::Evicted);
        assert_eq!(late.release().err(), evicted);
        assert_eq!(late.pop(&mut [0; 64]).err(), evicted);
        assert_eq!(late.peek().err(), evicted);
        assert_eq!(late.drain(8, |_| true).err(), evicted);
        assert!(!late.is_empty());
        assert!(late.wait(&mut Spin::checks(0)));
        assert_eq!(late.notify(&NoDoorbell).err(), evicted);
        drop(late);
        assert_eq!(bytes(&heap), before);
        producer.push(&[50]).unwrap();
        assert_eq!(drain(&mut successor), [50]);
    }
}

#[test]
fn a_drain_evicted_in_the_middle_does_not_move_the_head_back() {
    let heap = heap();
    let (mut producer, mut late) = ends(&heap, OnRestart::Keep);
    for n in 1..=4 {
        producer.push(&[n]).unwrap();
    }
    let mut successor = None;
    let mut seen = 0;
    let drained = late.drain(8, |_| {
        seen += 1;
        let taken = ring(&heap).take_over_consumer(SUCCESSOR, OnRestart::Keep);
        assert_eq!(drain(successor.insert(taken.unwrap())), [1, 2, 3, 4]);
        true
    });
    assert_eq!((drained, seen), (Err(PopError::Evicted), 1));
    assert_eq!(producer.push(&[5]), Err(PushError::Restarted));
    for n in 5..60 {
        producer.push(&[n]).unwrap();
        assert_eq!(drain(successor.as_mut().unwrap()), [n]);
    }
}

#[test]
fn an_evicted_handle_stays_evicted_if_its_incarnation_claims_the_end_again() {
    let heap = heap();
    let (mut producer, mut consumer) = ends(&heap, OnRestart::Keep);
    for n in 1..=6 {
        producer.push(&[n]).unwrap();
    }
    assert_eq!(consumer.pop(&mut [0; 8]), Ok(1));
    let successor = ring(&heap).take_over_producer(SUCCESSOR).unwrap();
    assert_eq!(producer.push(&[1]), Err(PushError::Evicted));
    drop(successor);
    let successor = ring(&heap).take_over_consumer(SUCCESSOR, OnRestart::Keep);
    assert_eq!(consumer.release(), Err(PopError::Evicted));
    drop(successor);
    let _again = ring(&heap).claim_producer(Incarnation::first(1)).unwrap();
    let mut other = ring(&heap)
        .claim_consumer(Incarnation::first(2), OnRestart::Keep)
        .unwrap();
    assert_eq!(other.pop(&mut [0; 8]), Ok(1));
    let before = bytes(&heap);
    assert_evicted(&mut producer);
    // The ring contains a record with the header that it expects.
    assert_eq!(consumer.pop(&mut [0; 8]), Err(PopError::Evicted));
    assert_eq!(consumer.drain(8, |_| true), Err(PopError::Evicted));
    assert_eq!(consumer.notify(&NoDoorbell), Err(PopError::Evicted));
    drop((producer, consumer));
    assert_eq!(bytes(&heap), before);
    assert_eq!(drain(&mut other), [3, 4, 5, 6, 0]);
}

/// A wait in whose sleep a successor takes both ends over.
struct TakeOverInSleep<'h>(&'h Heap);

impl Wait for TakeOverInSleep<'_> {
    fn pause(&mut self) -> Pause {
        Pause::Sleep
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {
        core::mem::forget(ring(self.0).take_over_producer(SUCCESSOR).unwrap());
        let kept = ring(self.0).take_over_consumer(SUCCESSOR, OnRestart::Keep);
        core::mem::forget(kept.unwrap());
    }
}

#[test]
fn a_sleeping_end_reports_its_eviction_when_it_wakes() {
    let heap = heap();
    let (_producer, mut consumer) = ends(&heap, OnRestart::Keep);
    assert!(consumer.wait(&mut TakeOverInSleep(&heap)));
    assert_eq!(consumer.pop(&mut [0; 8]), Err(PopError::Evicted));

    let heap = self::heap();
    let (mut producer, _consumer) = ends(&heap, OnRestart::Keep);
    while producer.push(&[0; 8]).is_ok() {}
    let waited = producer.wait_for_space(8, &mut TakeOverInSleep(&heap));
    assert_eq!(waited, Err(PushError::Evicted));
}

#[test]
fn an_incarnation_that_takes_over_its_own_end_restarts_it() {
    let heap = heap();
    let (mut producer, mut consumer) = ends(&heap, OnRestart::Keep);
    producer.push(&[1]).unwrap();
    core::mem::forget(producer);
    let mut producer = ring(&heap)
        .take_over_producer(Incarnation::first(1))
        .unwrap();
    producer.push(&[2]).unwrap();
    assert_eq!(drain(&mut consumer), [1, 0, 2]);
    core::mem::forget(consumer);
    let again = ring(&heap).take_over_consumer(Incarnation::first(2), OnRestart::Keep);
    assert_eq!(producer.push(&[3]), Err(PushError::Restarted));
    drop(again);
    let claim = heap.window().word(132).load(Relaxed);
    assert_eq!(claim, Incarnation::first(2).word() | Incarnation::FLAG);
}

#[test]
fn an_evicted_incarnation_cannot_claim_an_end_of_its_successor() {
    let heap = heap();
    let (first, second) = (Incarnation::first(1), Incarnation::new(1, 2).unwrap());
    let claims = || {
        let producer = ring(&heap).claim_producer(first).map(drop);
        let consumer = ring(&heap).claim_consumer(first, OnRestart::Keep).map(drop);
        [producer, consumer]
    };
    let refused = [Err(ClaimError::Claimed { holder: second }); 2];
    let producer = ring(&heap).claim_producer(second).unwrap();
    let consumer = ring(&heap).claim_consumer(second, OnRestart::Keep).unwrap();
    assert_eq!(claims(), refused);
    drop((producer, consumer));
    assert_eq!(
        claims(),
        refused,
        "also after the successor has released it"
    );
    assert!(ring(&heap).claim_producer(Incarnation::first(2)).is_ok());
}
