//! The guarantees of a ring to its two ends.
#![cfg(all(feature = "alloc", not(loom)))]

mod damage;
#[cfg(not(feature = "small"))]
mod late;
mod queue;
mod space;

use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::ring::{ClaimError, Consumer, OnRestart, PopError, Producer, PushError, Ring};
use shmem_core::{ControlWord, Incarnation};

const HEAD: usize = 128;
const POSITION: usize = 192;
const DATA: usize = 512;

fn heap(capacity: usize) -> Heap {
    Heap::new(Ring::segment_len(capacity))
}

fn ring(heap: &Heap) -> Ring<'_> {
    Ring::attach(heap.window()).unwrap()
}

fn ends(heap: &Heap) -> (Producer<'_>, Consumer<'_>) {
    (
        ring(heap).claim_producer(Incarnation::first(1)).unwrap(),
        ring(heap)
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap(),
    )
}

fn pop(consumer: &mut Consumer<'_>) -> Vec<u8> {
    let mut record = Vec::new();
    consumer.peek().unwrap().read_into(&mut record);
    consumer.release().unwrap();
    record
}

#[test]
fn zeroed_memory_is_an_empty_ring() {
    let heap = heap(64);
    let (_, mut consumer) = ends(&heap);
    assert_eq!(consumer.pop(&mut [0; 8]), Err(PopError::Empty));
    assert!(consumer.is_empty());
}

#[test]
fn a_segment_of_another_length_is_not_a_ring() {
    for len in [0, 8, 512, 512 + 32, 512 + 100, 512 + 96] {
        let heap = Heap::new(len);
        assert!(Ring::attach(heap.window()).is_err(), "{len}");
    }
}

#[test]
fn a_record_longer_than_the_maximum_is_an_error_and_changes_nothing() {
    let heap = heap(64);
    let (mut producer, mut consumer) = ends(&heap);
    producer.push(b"before").unwrap();
    let max = producer.ring().max_record();
    let error = Err(PushError::TooLong { max: max as u32 });
    assert_eq!(producer.push(&vec![0; max + 1]), error);
    assert_eq!(pop(&mut consumer), b"before");
    assert!(consumer.is_empty());
}

#[test]
fn a_second_claim_of_an_end_is_an_error_until_the_first_is_dropped() {
    let heap = heap(64);
    let first = ring(&heap).claim_producer(Incarnation::first(1)).unwrap();
    let second = ring(&heap).claim_producer(Incarnation::first(3)).err();
    let holder = Incarnation::first(1);
    assert_eq!(second, Some(ClaimError::Claimed { holder }));
    let again = ring(&heap).claim_producer(holder).err();
    assert_eq!(again, Some(ClaimError::Claimed { holder }));
    assert!(ring(&heap).claim_consumer(holder, OnRestart::Keep).is_ok());
    drop(first);
    assert!(ring(&heap).claim_producer(Incarnation::first(3)).is_ok());
}

#[test]
fn a_failed_claim_and_a_late_drop_do_not_change_the_owner() {
    let heap = heap(64);
    let first = ring(&heap).claim_producer(Incarnation::first(1)).unwrap();
    assert!(
        ring(&heap).claim_producer(Incarnation::first(3)).is_err(),
        "the claim was erased"
    );
    let second = ring(&heap)
        .take_over_producer(Incarnation::first(2))
        .unwrap();
    drop(first); // runs late, and must not erase its successor's claim
    let error = ring(&heap).claim_producer(Incarnation::first(3)).err();
    let holder = Incarnation::first(2);
    assert_eq!(error, Some(ClaimError::Claimed { holder }));
    drop(second);
    heap.window().word(0).store(4, Relaxed);
    for _ in 0..2 {
        let error = ring(&heap).claim_producer(Incarnation::first(1)).err();
        assert!(
            matches!(error, Some(ClaimError::Corrupt(corrupt)) if corrupt.word == ControlWord::Tail)
        );
    }
}

#[test]
fn a_new_producer_resumes_after_the_records_of_a_dead_one() {
    let heap = heap(256);
    let (mut producer, mut consumer) = ends(&heap);
    producer.push(b"one").unwrap();
    producer.push(b"two").unwrap();
    std::mem::forget(producer);
    // As if it had died between the store of the header and that of the tail.
    heap.window().word(0).store(16, Relaxed);
    let mut producer = ring(&heap)
        .take_over_producer(Incarnation::first(1))
        .unwrap();
    producer.push(b"three").unwrap();
    assert_eq!(pop(&mut consumer), b"one");
    assert_eq!(pop(&mut consumer), b"two");
    assert_eq!(consumer.pop(&mut [0; 8]), Err(PopError::Restarted));
    assert_eq!(pop(&mut consumer), b"three");
    // The same after the consumer has passed the stored tail.
    std::mem::forget(producer);
    heap.window().word(0).store(32, Relaxed);
    let mut producer = ring(&heap)
        .take_over_producer(Incarnation::first(1))
        .unwrap();
    producer.push(b"four").unwrap();
    assert_eq!(consumer.pop(&mut [0; 8]), Err(PopError::Restarted));
    assert_eq!(pop(&mut consumer), b"four");
}

#[test]
fn the_tail_lags_by_at_most_one_producer_if_several_die() {
    let heap = heap(64);
    let (mut producer, mut consumer) = ends(&heap);
    let tail = heap.window().word(0);
    for incarnation in 2..6 {
        let start = producer.position();
        assert_eq!(tail.load(Relaxed), start);
        let mut batch = producer.batch();
        for len in [8, 16] {
            batch.push(&vec![7; len]).unwrap();
        }
        batch.publish().unwrap();
        // As if it had died between the store of the header and that of the tail.
        tail.store(start, Relaxed);
        std::mem::forget(producer);
        while consumer.pop(&mut [0; 16]) != Err(PopError::Empty) {}
        let incarnation = Incarnation::new(1, incarnation).unwrap();
        producer = ring(&heap).take_over_producer(incarnation).unwrap();
    }
}

#[test]
fn a_new_consumer_receives_records_that_a_dead_one_had_not_released() {
    let heap = heap(256);
    let (mut producer, mut consumer) = ends(&heap);
    producer.push(b"one").unwrap();
    producer.push(b"two").unwrap();
    pop(&mut consumer);
    assert_eq!(consumer.peek().unwrap().len(), 3);
    std::mem::forget(consumer);
    let mut consumer = ring(&heap)
        .take_over_consumer(Incarnation::first(2), OnRestart::Keep)
        .unwrap();
    assert_eq!(pop(&mut consumer), b"two");
}

#[test]
fn a_batch_is_visible_only_after_it_is_published() {
    let heap = heap(256);
    let (mut producer, mut consumer) = ends(&heap);
    {
        let mut batch = producer.batch();
        batch.push(b"dropped").unwrap();
        batch.push(b"dropped too").unwrap();
    }
    let mut batch = producer.batch();
    batch.push(b"a").unwrap();
    batch.push(b"bb").unwrap();
    assert!(consumer.is_empty());
    batch.publish().unwrap();
    let mut lens = Vec::new();
    let drained = consumer.drain(8, |record| {
        lens.push(record.len());
        true
    });
    assert_eq!((drained, lens), (Ok(2), vec![1, 2]));
}

#[test]
fn a_reservation_can_be_committed_shorter() {
    let heap = heap(256);
    let (mut producer, mut consumer) = ends(&heap);
    let _ = producer.reserve(100).unwrap();
    let mut reservation = producer.reserve(100).unwrap();
    reservation.write(5, b"world");
    reservation.write(0, b"hello");
    reservation.commit(10).unwrap();
    assert_eq!(pop(&mut consumer), b"helloworld");
    assert!(consumer.is_empty());
}

#[test]
fn a_record_too_long_for_the_buffer_stays_the_next() {
    let heap = heap(256);
    let (mut producer, mut consumer) = ends(&heap);
    producer.push(b"twelve bytes").unwrap();
    let error = Err(PopError::TooLong { len: 12 });
    assert_eq!(consumer.pop(&mut [0; 4]), error);
    assert_eq!(pop(&mut consumer), b"twelve bytes");
}

#[test]
fn positions_wrap_at_two_to_the_thirty_two() {
    let heap = heap(64);
    let near = u32::MAX - 64 + 1;
    for at in [0, HEAD, POSITION] {
        heap.window().word(at).store(near, Relaxed);
    }
    let (mut producer, mut consumer) = ends(&heap);
    for n in 0..32_u8 {
        producer.push(&[n; 5]).unwrap();
        assert_eq!(pop(&mut consumer), [n; 5]);
    }
}

#[cfg(feature = "std")]
#[test]
fn a_byte_stream_delivers_every_byte_in_order() {
    use shmem_core::ring::{ByteReader, ByteWriter};
    use std::io::{ErrorKind, Read, Write};

    let heap = heap(512);
    let (producer, consumer) = ends(&heap);
    let (mut writer, mut reader) = (ByteWriter::new(producer), ByteReader::new(consumer));
    let sent: Vec<u8> = (0..10_000_u32).map(|n| (n % 256) as u8).collect();
    let (mut at, mut received) = (0, Vec::new());
    let mut part = [0; 37];
    while received.len() < sent.len() {
        match writer.write(&sent[at..]) {
            Ok(count) => at += count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        while let Ok(count @ 1..) = reader.read(&mut part) {
            received.extend_from_slice(&part[..count]);
        }
    }
    assert_eq!(received, sent);
}
