//! Models of the ring: every order in which two partitions' accesses can be seen.
//!
//! Payload is loom's plain cell, so loom reports a missing ordering as a race. A thread that
//! waits for the other does so in a loop: loom does not try every order of a
//! single load against a thread that itself loads the word before it stores.
#![cfg(loom)]

use loom::thread;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::ring::{Consumer, OnRestart, PopError, Producer, PushError, Ring};
use shmem_core::Incarnation;

/// 64 bytes of data: three records of 16 and the free header.
fn ring() -> Ring<'static> {
    Ring::attach(Heap::leaked(Ring::segment_len(64)).window()).unwrap()
}

fn push(producer: &mut Producer<'_>, record: &[u8]) {
    while producer.push(record) == Err(PushError::Full) {
        thread::yield_now();
    }
}

fn pop(consumer: &mut Consumer<'_>) -> Vec<u8> {
    let mut record = [0; 64];
    loop {
        match consumer.pop(&mut record) {
            Ok(len) => return record[..len].to_vec(),
            Err(PopError::Empty) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Passes two records from one thread to the other.
fn two_records_pass(mut producer: Producer<'static>, mut consumer: Consumer<'static>) {
    let peer = thread::spawn(move || {
        push(&mut producer, &[1; 8]);
        push(&mut producer, &[2; 8]);
    });
    assert_eq!(pop(&mut consumer), [1; 8]);
    assert_eq!(pop(&mut consumer), [2; 8]);
    peer.join().unwrap();
    assert!(consumer.is_empty());
}

#[test] // Kills: Release in `publish_header`, Acquire in `header`.
fn a_record_is_whole_when_it_is_seen() {
    loom::model(|| {
        let ring = ring();
        let producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        two_records_pass(
            producer,
            ring.claim_consumer(Incarnation::first(2), OnRestart::Keep)
                .unwrap(),
        );
    });
}

#[test] // Kills: Acquire in `find`.
fn a_record_with_an_expected_header_is_whole() {
    loom::model(|| {
        let ring = ring();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        // Sets the expected header, and empties the ring.
        push(&mut producer, &[0; 8]);
        assert_eq!(pop(&mut consumer), [0; 8]);
        assert!(consumer.is_empty());
        two_records_pass(producer, consumer);
    });
}

#[test] // Kills: Release in `store_head`, Acquire in `load_head`.
fn a_record_is_read_before_its_place_is_used_again() {
    loom::model(|| {
        let ring = ring();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        for n in 0..3 {
            producer.push(&[n; 8]).unwrap();
        }
        let peer = thread::spawn(move || {
            // 24 bytes do not fit before the end: this also tests padding and a wrap.
            push(&mut producer, &[3; 16]);
        });
        for n in 0..3 {
            assert_eq!(pop(&mut consumer), [n; 8]);
        }
        assert_eq!(pop(&mut consumer), [3; 16]);
        peer.join().unwrap();
    });
}

#[test] // Kills: lines fetched past the free bytes that are known.
fn lines_are_fetched_only_in_free_space() {
    loom::model(|| {
        let ring = Ring::attach(Heap::leaked(Ring::segment_len(128)).window()).unwrap();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        for n in 0..7 {
            producer.push(&[n; 8]).unwrap();
            if n < 4 {
                consumer.pop(&mut [0; 8]).unwrap();
            }
        }
        let peer = thread::spawn(move || {
            // The record at 64, where a line begins.
            assert_eq!(pop(&mut consumer), [4; 8]);
            core::mem::forget(consumer);
        });
        // Across the end, up to the third record: the last push loads `head`.
        for len in [16, 16, 8] {
            push(&mut producer, &[9; 16][..len]);
        }
        peer.join().unwrap();
    });
}

#[test] // Kills: the zeroing of the next header moved after the publication.
fn old_payload_is_never_read_as_a_header() {
    loom::model(|| {
        let ring = ring();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        // At offset 16, payload that reads as the header of a 1-byte record.
        producer
            .push(&[0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0])
            .unwrap();
        pop(&mut consumer);
        for len in [16, 8] {
            producer.push(&[0; 16][..len]).unwrap();
            pop(&mut consumer);
        }
        // At offset 0 again, and the next header is at 16.
        let peer = thread::spawn(move || push(&mut producer, &[7; 8]));
        assert_eq!(pop(&mut consumer), [7; 8]);
        assert_eq!(consumer.peek().unwrap_err(), PopError::Empty);
        peer.join().unwrap();
    });
}

#[test] // Kills: Release in `publish_header`, where the first word publishes all.
fn a_batch_is_seen_whole_or_not_at_all() {
    loom::model(|| {
        let ring = ring();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        let peer = thread::spawn(move || {
            let mut batch = producer.batch();
            batch.push(&[1; 8]).unwrap();
            batch.push(&[2; 8]).unwrap();
            batch.publish().unwrap();
        });
        let mut seen = Vec::new();
        while seen.is_empty() {
            let count = consumer.drain(4, |record| {
                let mut bytes = [0; 8];
                record.read(0, &mut bytes);
                seen.push(bytes[0]);
                true
            });
            assert_eq!(count, Ok(seen.len()));
            thread::yield_now();
        }
        assert_eq!(seen, [1, 2]);
        peer.join().unwrap();
    });
}

#[test] // Kills: Release in `Claim::release`, Acquire in `check`.
fn a_released_end_is_not_used_any_more() {
    loom::model(|| {
        let ring = ring();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let peer = thread::spawn(move || {
            // A reservation that is dropped.
            producer.reserve(8).unwrap().write(0, &[1; 8]);
        });
        let mut producer = loop {
            match ring.claim_producer(Incarnation::first(3)) {
                Ok(producer) => break producer,
                Err(_) => thread::yield_now(),
            }
        };
        producer.push(&[2; 8]).unwrap();
        peer.join().unwrap();
    });
}

#[test] // Kills: Release of `tail` in `store_tail`, Acquire of `tail` in `resume`.
fn a_producer_that_resumes_finds_the_zero_header() {
    loom::model(|| {
        let window = Heap::leaked(Ring::segment_len(64)).window();
        let ring = Ring::attach(window).unwrap();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        let peer = thread::spawn(move || {
            // To the position 128, where an old header lies, and `tail` is stored.
            for _ in 0..8 {
                producer.push(&[1; 7]).unwrap();
                consumer.pop(&mut [0; 8]).unwrap();
            }
            core::mem::forget((producer, consumer));
        });
        while window.word(0).load(Relaxed) != 128 {
            thread::yield_now();
        }
        let mut producer = ring.take_over_producer(Incarnation::first(3)).unwrap();
        producer.push(&[2; 8]).unwrap();
        let header = window.word(512).load(Relaxed);
        assert_eq!(header, 8 << 2 | 1, "it resumed after an old header");
        peer.join().unwrap();
    });
}

#[test] // Kills: fence(Release) in `discard`, Acquire of `position` in `resume`.
fn a_consumer_that_resumes_after_a_discarded_record_has_it_counted() {
    loom::model(|| {
        let ring = ring();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        drop(
            ring.claim_consumer(Incarnation::first(2), OnRestart::Discard)
                .unwrap(),
        );
        push(&mut producer, &[1; 8]);
        let incarnation = Incarnation::new(2, 2).unwrap();
        let mut consumer = ring
            .claim_consumer(incarnation, OnRestart::Discard)
            .unwrap();
        let peer = thread::spawn(move || {
            let _ = consumer.pop(&mut [0; 8]);
            core::mem::forget(consumer);
        });
        let next = ring.take_over_consumer(Incarnation::first(3), OnRestart::Discard);
        let next = next.unwrap();
        assert!(next.position() == 0 || next.discarded() == 1);
        peer.join().unwrap();
    });
}

#[test] // Kills: Acquire of `head` in `resume`.
fn a_resuming_producer_writes_only_to_released_bytes() {
    loom::model(|| {
        let ring = ring();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        for n in 0..3 {
            producer.push(&[n; 8]).unwrap();
        }
        core::mem::forget(producer);
        let peer = thread::spawn(move || {
            for n in 0..3 {
                assert_eq!(pop(&mut consumer), [n; 8]);
            }
        });
        // If the push succeeds, only `resume` has loaded `head`.
        loop {
            let mut producer = ring.take_over_producer(Incarnation::first(3)).unwrap();
            // After padding, over the first two records.
            if producer.push(&[9; 16]).is_ok() {
                break;
            }
            core::mem::forget(producer);
            thread::yield_now();
        }
        peer.join().unwrap();
    });
}

#[test] // Kills: Release in `End::acquire`, Acquire in `next_slow`.
fn records_of_a_dead_producer_are_seen_before_the_restart() {
    loom::model(|| {
        let ring = ring();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        let peer = thread::spawn(move || {
            push(&mut producer, &[1; 8]);
            core::mem::forget(producer);
            // The next incarnation sends nothing.
            let next = ring
                .claim_producer(Incarnation::new(1, 2).unwrap())
                .unwrap();
            core::mem::forget(next);
        });
        let mut seen = Vec::new();
        loop {
            match consumer.pop(&mut [0; 8]) {
                Ok(_) => seen.push("record"),
                Err(PopError::Restarted) => {
                    seen.push("restart");
                    break;
                }
                Err(PopError::Empty) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(seen, ["record", "restart"]);
        peer.join().unwrap();
    });
}

#[test]
fn no_command_for_a_dead_consumer_reaches_its_next_incarnation() {
    loom::model(|| {
        let ring = ring();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        core::mem::forget(
            ring.claim_consumer(Incarnation::first(2), OnRestart::Discard)
                .unwrap(),
        );
        push(&mut producer, &[1; 8]);
        let peer = thread::spawn(move || {
            // The producer knows the consumer after the report of the restart.
            let mut reported = false;
            loop {
                // Room for one of them after the first.
                match producer.push(&[if reported { 2 } else { 1 }; 16]) {
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
        assert_eq!(pop(&mut consumer), [2; 16]);
        peer.join().unwrap();
    });
}
