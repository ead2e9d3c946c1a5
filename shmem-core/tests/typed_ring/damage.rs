//! Words that no honest partition stores.

use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::typed_ring::{ClaimError, PushError};
use shmem_core::ControlWord::{ConsumerStart, Head, Position, ProducerStart, RecordSize, Tail};
use shmem_core::{ControlWord, Corrupt};

use super::*;

fn corrupt(word: ControlWord, value: u32) -> Corrupt {
    Corrupt { word, value }
}

#[test]
fn a_tail_past_the_ring_is_corrupt_permanently() {
    for value in [1 << 16 | 17, 1 << 16 | 0xffff, 1 << 16 | 0x8000] {
        let heap = heap::<u64>(16);
        let (mut producer, mut end) = (producer(&heap, 1), consumer(&heap, 1, OnRestart::Keep));
        producer.push(&1).unwrap();
        assert_eq!(end.pop(), Ok(1));
        let value = (value & !0xffff) | ((value + 1) & 0xffff);
        heap.window().word(4).store(value, Relaxed);
        let error = PopError::Corrupt(corrupt(Tail, value));
        assert_eq!(end.pop(), Err(error));
        heap.window().word(4).store(1 << 16 | 2, Relaxed);
        assert_eq!(end.pop(), Err(error), "the error is permanent");
        assert_eq!(end.peek(), Err(error));
        assert_eq!(end.pop_slice(&mut [0; 4]), Err(error));
        assert_eq!(end.release(), Err(error));
        assert!(!end.is_empty());
    }
}

#[test]
fn a_head_that_goes_back_or_passes_the_tail_is_corrupt_permanently() {
    for position in [2, 0xffff, 21] {
        let heap = heap::<u64>(16);
        let (mut producer, mut end) = (producer(&heap, 1), consumer(&heap, 1, OnRestart::Keep));
        producer.push_slice(&[1; 16]).unwrap();
        drain(&mut end);
        producer.push_slice(&[1; 4]).unwrap();
        let value = 1 << 16 | position;
        heap.window().word(132).store(value, Relaxed);
        let error = PushError::Corrupt(corrupt(Head, value));
        let pushed = (0..20).find_map(|_| producer.push(&1).err());
        assert_eq!(pushed, Some(error));
        assert_eq!(producer.push_slice(&[1; 4]), Err(error));
        assert_eq!(
            producer.notify(&shmem_core::doorbell::NoDoorbell),
            Err(error)
        );
    }
}

#[test]
fn a_start_outside_the_ring_is_corrupt() {
    let heap = heap::<u64>(16);
    let (mut producer, mut end) = (producer(&heap, 1), consumer(&heap, 1, OnRestart::Keep));
    producer.push(&1).unwrap();
    let value = 2 << 16 | 18;
    heap.window().word(24).store(value, Relaxed);
    assert_eq!(
        end.pop(),
        Err(PopError::Corrupt(corrupt(ProducerStart, value)))
    );
    heap.window().word(264).store(value, Relaxed);
    let pushed = (0..4).find_map(|_| producer.push(&1).err());
    assert_eq!(
        pushed,
        Some(PushError::Corrupt(corrupt(ConsumerStart, value)))
    );
}

#[test]
fn a_ring_that_is_zeroed_while_in_use_is_corrupt() {
    let heap = heap::<u64>(16);
    let (mut producer, mut end) = (producer(&heap, 1), consumer(&heap, 1, OnRestart::Keep));
    producer.push(&1).unwrap();
    assert_eq!(end.pop(), Ok(1));
    for word in (0..48).chain(128..144).chain(256..272).step_by(4) {
        heap.window().word(word).store(0, Relaxed);
    }
    assert_eq!(end.pop(), Err(PopError::Corrupt(corrupt(ProducerStart, 0))));
    let pushed = (0..4).find_map(|_| producer.push(&1).err());
    assert_eq!(pushed, Some(PushError::Corrupt(corrupt(ConsumerStart, 0))));
}

#[test]
fn a_tail_without_a_producer_is_corrupt() {
    let heap = heap::<u64>(16);
    let mut end = consumer(&heap, 1, OnRestart::Keep);
    heap.window().word(0).store(3, Relaxed);
    assert_eq!(end.pop(), Err(PopError::Corrupt(corrupt(Tail, 3))));
}

#[test]
fn a_claim_of_a_corrupt_ring_fails_and_changes_nothing() {
    let at = |position: u32| 1 << 16 | position;
    // Tail, head, position.
    for (words, error) in [
        ([at(17), at(0), at(0)], corrupt(Tail, at(17))),
        ([at(5), at(6), at(6)], corrupt(Tail, at(5))),
        ([at(5), at(2), at(1)], corrupt(Position, at(1))),
        ([at(5), at(2), at(6)], corrupt(Position, at(6))),
    ] {
        let heap = heap::<u64>(16);
        kill((producer(&heap, 1), consumer(&heap, 1, OnRestart::Keep)));
        for (offset, word) in [4, 132, 196].into_iter().zip(words) {
            heap.window().word(offset).store(word, Relaxed);
        }
        let ring = ring::<u64>(&heap);
        let claims = [ring.producer_owner(), ring.consumer_owner()];
        let error = Some(ClaimError::Corrupt(error));
        assert_eq!(ring.claim_producer(incarnation(1, 2)).err(), error);
        assert_eq!(
            ring.claim_consumer(incarnation(2, 2), OnRestart::Keep)
                .err(),
            error
        );
        assert_eq!([ring.producer_owner(), ring.consumer_owner()], claims);
    }
}

#[test]
fn a_record_size_that_the_peer_stores_is_never_used() {
    let heap = heap::<u64>(16);
    let (mut producer, mut end) = (producer(&heap, 1), consumer(&heap, 1, OnRestart::Keep));
    let words = heap.window();
    words.word(52).store(u32::MAX, Relaxed);
    words.word(148).store(1, Relaxed);
    producer.push(&1).unwrap();
    assert_eq!(end.pop(), Ok(1));
    words.word(148).store(8, Relaxed);
    let claimed = end.ring().take_over_producer(incarnation(1, 2)).err();
    assert_eq!(
        claimed,
        Some(ClaimError::Corrupt(corrupt(RecordSize, u32::MAX)))
    );
}
