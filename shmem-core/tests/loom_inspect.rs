//! Models of the inspection of a ring in use: a change in progress is not reported as corrupt.
#![cfg(loom)]

use loom::thread;
use shmem_core::mem::Heap;
use shmem_core::ring::inspect::{Inspection, Stop};
use shmem_core::ring::{OnRestart, Ring};
use shmem_core::Incarnation;

fn ring() -> Ring<'static> {
    Ring::attach(Heap::leaked(Ring::segment_len(64)).window()).unwrap()
}

/// Returns true if the inspection is that of a sound ring.
fn is_sound(seen: &Inspection) -> bool {
    let end = seen.position.wrapping_add(seen.backlog.bytes);
    seen.backlog.stop == Stop::Nothing && seen.tail.wrapping_sub(end) as i32 <= 0
}

#[test] // Kills: Acquire of `tail` in `inspect_once`.
fn a_tail_is_never_seen_ahead_of_its_records() {
    loom::model(|| {
        let ring = ring();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let peer = thread::spawn(move || {
            producer.push(&[1; 8]).unwrap();
            producer.push(&[2; 8]).unwrap();
        });
        let seen = ring.inspect(8);
        assert!(is_sound(&seen), "{seen:?}");
        peer.join().unwrap();
        assert_eq!(ring.inspect(8).backlog.records, 2);
    });
}

#[test] // Kills: Acquire of the header in `step`.
fn padding_is_never_seen_without_the_record_after_it() {
    loom::model(|| {
        let ring = ring();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        for _ in 0..2 {
            producer.push(&[1; 16]).unwrap();
            consumer.pop(&mut [0; 16]).unwrap();
        }
        let peer = thread::spawn(move || producer.push(&[2; 16]).unwrap());
        let seen = ring.inspect(8);
        assert!(is_sound(&seen), "{seen:?}");
        peer.join().unwrap();
        assert_eq!(ring.inspect(8).backlog.bytes, 16 + 24);
    });
}
