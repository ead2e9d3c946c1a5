//! Free space in a ring.

use shmem_core::doorbell::NoDoorbell;
use shmem_core::ring::{PopError, PushError};

use super::{ends, heap, pop};

#[test]
fn the_longest_record_fits_at_every_tail() {
    let heap = heap(128);
    let (mut producer, mut consumer) = ends(&heap);
    let longest = vec![7; producer.ring().max_record()];
    for short in 0..64 {
        producer.push(&vec![1; short % 9]).unwrap();
        pop(&mut consumer);
        producer.push(&longest).unwrap();
        assert_eq!(pop(&mut consumer), longest);
    }
}

#[test]
fn a_full_ring_accepts_a_record_after_one_is_released() {
    let heap = heap(64);
    let (mut producer, mut consumer) = ends(&heap);
    let mut pushed = 0_u8;
    while producer.push(&[pushed; 8]) == Ok(()) {
        pushed += 1;
    }
    assert_eq!(pushed, 3); // 4 x 16 bytes, but the next header stays free
    assert_eq!(pop(&mut consumer), [0; 8]);
    producer.push(&[9; 8]).unwrap();
    assert_eq!(producer.push(&[9; 8]), Err(PushError::Full));
}

#[test]
fn fetching_lines_stores_to_free_bytes_only() {
    // Records of several lengths at each position of a full ring.
    for len in [0, 8, 24, 64, 200, 700] {
        let heap = heap(2048);
        let (mut producer, mut consumer) = ends(&heap);
        let mut sent = 0_u8;
        let mut received = 0_u8;
        for _ in 0..200 {
            while producer.push(&vec![sent; len]) == Ok(()) {
                sent = sent.wrapping_add(1);
            }
            for _ in 0..3 {
                if !consumer.is_empty() {
                    assert_eq!(pop(&mut consumer), vec![received; len]);
                    received = received.wrapping_add(1);
                }
            }
            consumer.notify(&NoDoorbell).unwrap();
        }
        while !consumer.is_empty() {
            assert_eq!(pop(&mut consumer), vec![received; len]);
            received = received.wrapping_add(1);
        }
        assert_eq!(sent, received);
    }
}

#[test]
fn the_longest_record_fits_after_the_consumer_finds_the_ring_empty() {
    for capacity in [64, 128, 256, 1024, 4096] {
        let heap = heap(capacity);
        let (mut producer, mut consumer) = ends(&heap);
        let longest = vec![7; producer.ring().max_record()];
        let mut refused = 0;
        for short in 0..capacity {
            producer.push(&vec![1; short % 17]).unwrap();
            pop(&mut consumer);
            if producer.push(&longest) == Err(PushError::Full) {
                refused += 1;
                assert_eq!(consumer.pop(&mut []), Err(PopError::Empty));
                producer.push(&longest).unwrap();
            }
            assert_eq!(pop(&mut consumer), longest);
            assert!(consumer.is_empty());
        }
        // With the feature `small`, `head` never lags.
        let lags = !cfg!(feature = "small") && capacity == 256;
        assert!(refused != 0 || !lags, "`head` did not lag");
    }
}

#[test]
fn a_dropped_batch_that_wrapped_leaves_the_free_space_unchanged() {
    let heap = heap(256);
    let (mut producer, mut consumer) = ends(&heap);
    for _ in 0..3 {
        producer.push(&[1; 56]).unwrap();
        pop(&mut consumer);
    }
    // At 192 of 256 bytes: the room at the start is larger than here.
    let mut batch = producer.batch();
    batch.push(&[2; 80]).unwrap();
    drop(batch);
    for n in 3..6 {
        producer.push(&[n; 64]).unwrap();
        assert_eq!(pop(&mut consumer), [n; 64]);
    }
}
