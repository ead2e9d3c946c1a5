//! Models of taking an end over from an incarnation that is alive: every order in which the
//! accesses of both can be seen.
//!
//! Both then write the same free bytes, which no ordering can prevent. So the models use empty
//! records, whose headers are atomic.
#![cfg(loom)]

use loom::thread;
use shmem_core::doorbell::NoDoorbell;
use shmem_core::mem::Heap;
use shmem_core::ring::{OnRestart, PopError, Ring};
use shmem_core::Incarnation;

const SUCCESSOR: Incarnation = Incarnation::first(3);

/// 64 bytes of data.
fn ring() -> Ring<'static> {
    Ring::attach(Heap::leaked(Ring::segment_len(64)).window()).unwrap()
}

#[test] // Kills: fence(SeqCst) in `End::acquire`.
fn a_record_before_a_notify_that_was_not_evicted_is_found_by_the_successor() {
    loom::model(|| {
        let ring = ring();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        let mut late = ring.claim_producer(Incarnation::first(1)).unwrap();
        let peer = thread::spawn(move || {
            let pushed = late.push(&[]);
            let kept = pushed.is_ok() && late.notify(&NoDoorbell).is_ok();
            core::mem::forget(late);
            kept
        });
        let mut successor = ring.take_over_producer(SUCCESSOR).unwrap();
        let kept = peer.join().unwrap();
        successor.push(&[1; 8]).unwrap();
        let mut found = Vec::new();
        loop {
            match consumer.pop(&mut [0; 8]) {
                Ok(len) => found.push(len),
                Err(PopError::Restarted) => {}
                Err(PopError::Empty) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(found.last(), Some(&8));
        assert!(!kept || found == [0, 8], "an acknowledged record is lost");
    });
}

#[test] // Kills: fence(SeqCst) in `End::acquire`, for the consumer's end.
fn a_release_before_a_notify_that_was_not_evicted_is_found_by_the_successor() {
    loom::model(|| {
        let ring = ring();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut late = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        producer.push(&[1; 8]).unwrap();
        let peer = thread::spawn(move || {
            late.pop(&mut [0; 8]).is_ok() && late.notify(&NoDoorbell).is_ok()
        });
        let successor = ring.take_over_consumer(SUCCESSOR, OnRestart::Keep).unwrap();
        let released = peer.join().unwrap();
        assert!(
            !released || successor.position() == 16,
            "a record is repeated"
        );
    });
}

#[test] // Kills: Acquire of the header in `resume::producer`.
fn padding_is_never_taken_over_without_the_record_after_it() {
    loom::model(|| {
        let ring = ring();
        let mut late = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        for _ in 0..2 {
            late.push(&[1; 16]).unwrap();
            consumer.pop(&mut [0; 16]).unwrap();
        }
        let peer = thread::spawn(move || {
            let _ = late.push(&[2; 16]);
            core::mem::forget(late);
        });
        assert!(ring.take_over_producer(SUCCESSOR).is_ok());
        peer.join().unwrap();
    });
}

#[test] // Kills: Acquire of `tail` in `Positions::load`.
fn a_tail_is_never_seen_ahead_of_the_head_that_made_room_for_it() {
    loom::model(|| {
        let ring = ring();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut late = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        for _ in 0..3 {
            producer.push(&[]).unwrap();
        }
        let peer = thread::spawn(move || {
            for _ in 0..3 {
                let _ = late.pop(&mut []);
            }
            for _ in 0..6 {
                let _ = producer.push(&[]);
            }
            core::mem::forget((producer, late));
        });
        assert!(ring.take_over_consumer(SUCCESSOR, OnRestart::Keep).is_ok());
        peer.join().unwrap();
    });
}

#[test] // Kills: Release of the epoch in `End::acquire`.
fn records_that_a_successor_found_are_seen_before_its_restart() {
    loom::model(|| {
        let ring = ring();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        let mut late = ring.claim_producer(Incarnation::first(1)).unwrap();
        late.push(&[]).unwrap();
        consumer.pop(&mut []).unwrap();
        let peer = thread::spawn(move || {
            let pushed = late.push(&[]);
            let kept = pushed.is_ok() && late.notify(&NoDoorbell).is_ok();
            core::mem::forget(late);
            kept
        });
        let successor = thread::spawn(move || {
            core::mem::forget(ring.take_over_producer(SUCCESSOR).unwrap());
        });
        let mut seen = Vec::new();
        for _ in 0..2 {
            match consumer.pop(&mut []) {
                Ok(_) => seen.push("record"),
                Err(PopError::Restarted) => seen.push("restart"),
                Err(PopError::Empty) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        let kept = peer.join().unwrap();
        successor.join().unwrap();
        assert!(!kept || seen.first() != Some(&"restart"), "{seen:?}");
    });
}
