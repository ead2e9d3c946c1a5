//! Models of the typed ring: every order in which two partitions' accesses can be seen.
//!
//! Payload is loom's plain cell, so loom reports a missing ordering as a race. A thread that
//! waits for the other does so in a loop: loom does not try every order of a
//! single load against a thread that itself loads the word before it stores.
#![cfg(loom)]

use loom::thread;
use shmem_core::doorbell::NoDoorbell;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::typed_ring::{
    OnRestart, PopError, PushError, TypedConsumer, TypedProducer, TypedRing,
};
use shmem_core::{Incarnation, Window};

const SUCCESSOR: Incarnation = Incarnation::first(3);

fn window(slots: usize) -> Window<'static> {
    Heap::leaked(TypedRing::<u64>::segment_len(slots)).window()
}

fn ring(slots: usize) -> TypedRing<'static, u64> {
    TypedRing::attach(window(slots)).unwrap()
}

fn push(producer: &mut TypedProducer<'_, u64>, value: u64) {
    while producer.push(&value) == Err(PushError::Full) {
        thread::yield_now();
    }
}

fn pop(consumer: &mut TypedConsumer<'_, u64>) -> u64 {
    loop {
        match consumer.pop() {
            Ok(value) => return value,
            Err(PopError::Empty) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Pops until `last`. Returns all records; a restart is 0.
fn pop_until(consumer: &mut TypedConsumer<'_, u64>, last: u64) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        match consumer.pop() {
            Ok(value) => seen.push(value),
            Err(PopError::Restarted) => seen.push(0),
            Err(PopError::Empty) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    seen
}

#[test] // Kills: Release of `tails`, Acquire in `poll_once`.
fn a_record_is_whole_when_it_is_seen() {
    loom::model(|| {
        let ring = ring(4);
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        let peer = thread::spawn(move || {
            push(&mut producer, 1);
            producer.push_slice(&[2, 3]).unwrap();
        });
        for value in 1..=3 {
            assert_eq!(pop(&mut consumer), value);
        }
        peer.join().unwrap();
    });
}

#[test] // Kills: Acquire of the first producer's `tails` in `note_producers`.
fn a_record_of_the_first_producer_is_whole_when_it_is_seen() {
    loom::model(|| {
        let window = window(4);
        let ring = TypedRing::<u64>::attach(window).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let peer = thread::spawn(move || push(&mut producer, 1));
        // Until the record is published.
        while window.word(4).load(Relaxed) != 1 << 16 | 1 {
            thread::yield_now();
        }
        assert_eq!(pop(&mut consumer), 1);
        peer.join().unwrap();
    });
}

#[test] // Kills: Release of `heads`, Acquire in `TypedProducer::poll_consumer`.
fn a_record_is_read_before_its_slot_is_used_again() {
    loom::model(|| {
        let ring = ring(2);
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        producer.push_slice(&[1, 2]).unwrap();
        let peer = thread::spawn(move || {
            push(&mut producer, 3);
        });
        for value in 1..=3 {
            assert_eq!(pop(&mut consumer), value);
        }
        peer.join().unwrap();
    });
}

#[test] // Kills: Acquire of the first consumer's `heads` after `note_consumer`.
fn a_new_consumer_reads_a_record_before_its_slot_is_used_again() {
    loom::model(|| {
        let ring = ring(2);
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        producer.push_slice(&[1, 2]).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        let peer = thread::spawn(move || {
            push(&mut producer, 3);
        });
        for value in 1..=3 {
            assert_eq!(pop(&mut consumer), value);
        }
        peer.join().unwrap();
    });
}

#[test] // Kills: lines fetched past the free slots that are known.
fn lines_are_fetched_only_in_free_space() {
    loom::model(|| {
        let ring = ring(16);
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        producer.push_slice(&[7; 16]).unwrap();
        for _ in 0..8 {
            consumer.pop().unwrap();
        }
        let peer = thread::spawn(move || {
            // A slot at which a line begins.
            assert_eq!(pop(&mut consumer), 7);
            core::mem::forget(consumer);
        });
        push(&mut producer, 8);
        peer.join().unwrap();
    });
}

#[test] // Kills: Release in `Claim::release`, Acquire in `End::check` and of `tails` in a claim.
fn a_released_end_is_not_used_any_more() {
    loom::model(|| {
        let ring = ring(2);
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        let peer = thread::spawn(move || {
            producer.push(&1).unwrap();
        });
        let mut producer = loop {
            match ring.claim_producer(SUCCESSOR) {
                Ok(producer) => break producer,
                Err(_) => thread::yield_now(),
            }
        };
        producer.push(&2).unwrap();
        assert_eq!(pop_until(&mut consumer, 2), [1, 0, 2]);
        peer.join().unwrap();
    });
}

#[test] // Kills: Release of the producer's start, Acquire of starts and of `tails` in a claim.
fn records_of_an_earlier_producer_are_whole_and_come_before_the_restart() {
    loom::model(|| {
        let ring = ring(4);
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        assert!(consumer.is_empty());
        let first = thread::spawn(move || {
            producer.push(&1).unwrap();
            core::mem::forget(producer);
        });
        let second = thread::spawn(move || {
            first.join().unwrap();
            let mut next = ring
                .claim_producer(Incarnation::new(1, 2).unwrap())
                .unwrap();
            next.push(&2).unwrap();
            core::mem::forget(next);
        });
        assert_eq!(pop_until(&mut consumer, 2), [1, 0, 2]);
        second.join().unwrap();
    });
}

#[test] // Kills: Acquire of the next start in `first_after`.
fn a_record_known_only_from_a_start_is_whole() {
    loom::model(|| {
        let window = window(4);
        let ring = TypedRing::<u64>::attach(window).unwrap();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        let peer = thread::spawn(move || {
            producer.push(&1).unwrap();
            core::mem::forget(producer);
            let next = ring
                .claim_producer(Incarnation::new(1, 2).unwrap())
                .unwrap();
            core::mem::forget(next);
            // Hides the tail of the first producer.
            window.word(4).store(1 << 16, Relaxed);
            window.word(100).store(1, Relaxed);
        });
        while window.word(100).load(Relaxed) == 0 {
            thread::yield_now();
        }
        assert_eq!(pop(&mut consumer), 1);
        peer.join().unwrap();
    });
}

#[test] // Kills: Release of `positions`, Acquire of them in a claim.
fn a_slot_released_by_an_earlier_consumer_is_read_before_it_is_used_again() {
    loom::model(|| {
        let window = window(16);
        let ring = TypedRing::<u64>::attach(window).unwrap();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        producer.push_slice(&[1; 16]).unwrap();
        let peer = thread::spawn(move || {
            assert_eq!(consumer.pop(), Ok(1));
            core::mem::forget(consumer);
        });
        // Until it has released the record.
        while window.word(196).load(Relaxed) != 1 << 16 | 1 {
            thread::yield_now();
        }
        let next = ring.take_over_consumer(SUCCESSOR, OnRestart::Keep);
        core::mem::forget(next.unwrap());
        assert_eq!(producer.push(&3), Err(PushError::Restarted));
        assert_eq!(producer.push(&3), Ok(()));
        peer.join().unwrap();
    });
}

#[test] // Kills: Release of the consumer's start, Acquire in `note_consumer`.
fn a_slot_released_according_to_a_start_is_read_before_it_is_used_again() {
    loom::model(|| {
        let ring = ring(16);
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        producer.push_slice(&[1; 16]).unwrap();
        let peer = thread::spawn(move || {
            assert_eq!(consumer.pop(), Ok(1));
            core::mem::forget(consumer);
            let next = ring.take_over_consumer(SUCCESSOR, OnRestart::Keep);
            core::mem::forget(next.unwrap());
        });
        loop {
            match producer.push(&3) {
                Ok(()) => break,
                Err(PushError::Full | PushError::Restarted) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        peer.join().unwrap();
    });
}

#[test] // Kills: fence(SeqCst) in `End::acquire`.
fn a_record_before_a_notify_that_was_not_evicted_is_found_by_the_successor() {
    loom::model(|| {
        let ring = ring(4);
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        let mut late = ring.claim_producer(Incarnation::first(1)).unwrap();
        assert!(consumer.is_empty());
        let peer = thread::spawn(move || {
            let pushed = late.push(&1);
            let kept = pushed.is_ok() && late.notify(&NoDoorbell).is_ok();
            core::mem::forget(late);
            kept
        });
        let successor = ring.take_over_producer(SUCCESSOR).unwrap();
        let kept = peer.join().unwrap();
        assert!(!kept || successor.position() == 1, "a record is lost");
    });
}

#[test] // Kills: fence(SeqCst) in `End::acquire`, for the consumer's end.
fn a_release_before_a_notify_that_was_not_evicted_is_found_by_the_successor() {
    loom::model(|| {
        let ring = ring(4);
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut late = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        producer.push(&1).unwrap();
        let peer = thread::spawn(move || late.pop().is_ok() && late.notify(&NoDoorbell).is_ok());
        let successor = ring.take_over_consumer(SUCCESSOR, OnRestart::Keep).unwrap();
        let released = peer.join().unwrap();
        assert!(
            !released || successor.position() == 1,
            "a record is repeated"
        );
    });
}

#[test] // Kills: fence(SeqCst) in `agree_on_size`.
fn one_of_two_first_claims_with_different_sizes_fails() {
    loom::model(|| {
        let window = window(4);
        let ours = TypedRing::<u64>::attach(window).unwrap();
        let theirs = TypedRing::<[u8; 7]>::attach(window).unwrap();
        let peer = thread::spawn(move || {
            let end = theirs.claim_consumer(Incarnation::first(2), OnRestart::Keep);
            end.map(core::mem::forget).is_ok()
        });
        let end = ours.claim_producer(Incarnation::first(1));
        let here = end.map(core::mem::forget).is_ok();
        assert!(!(here && peer.join().unwrap()), "both claims succeeded");
    });
}

#[test] // Kills: Release in `OwnWord::publish`, of a restored word.
fn a_restored_word_hands_over_the_same_records() {
    loom::model(|| {
        let window = window(4);
        let ring = TypedRing::<u64>::attach(window).unwrap();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        let peer = thread::spawn(move || {
            producer.push(&1).unwrap();
            // A late store of the fourth producer before this one.
            window.word(4).store(65_533 << 16, Relaxed);
            producer.notify(&NoDoorbell).unwrap();
        });
        assert_eq!(pop(&mut consumer), 1);
        peer.join().unwrap();
    });
}

#[test]
fn no_command_for_a_dead_consumer_reaches_its_next_incarnation() {
    loom::model(|| {
        let ring = ring(4);
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        core::mem::forget(
            ring.claim_consumer(Incarnation::first(2), OnRestart::Discard)
                .unwrap(),
        );
        push(&mut producer, 1);
        let peer = thread::spawn(move || {
            // The producer knows the consumer after the report of the restart.
            let mut reported = false;
            loop {
                match producer.push(if reported { &2 } else { &1 }) {
                    Ok(()) if reported => break,
                    Ok(()) => {}
                    Err(PushError::Restarted) => reported = true,
                    Err(PushError::Full) => thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let incarnation = Incarnation::new(2, 2).unwrap();
        let mut consumer = ring
            .claim_consumer(incarnation, OnRestart::Discard)
            .unwrap();
        assert_eq!(pop(&mut consumer), 2);
        peer.join().unwrap();
    });
}
