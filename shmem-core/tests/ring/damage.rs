//! Words that no honest partition stores in a ring, and the errors they cause.

use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::ring::{ClaimError, OnRestart, PopError, PushError};
use shmem_core::{ControlWord, Corrupt, Incarnation};

use super::{ends, heap, pop, ring, DATA, HEAD, POSITION};

#[test]
fn a_drain_ends_after_a_lap_and_a_stream_skips_empty_records() {
    let heap = heap(256);
    heap.window().word(HEAD + 8).store(1, Relaxed);
    for at in (DATA..DATA + 256).step_by(8) {
        heap.window().word(at).store(1, Relaxed); // records without bytes, without end
    }
    let mut consumer = ring(&heap)
        .claim_consumer(Incarnation::first(2), OnRestart::Keep)
        .unwrap();
    assert_eq!(consumer.drain(usize::MAX, |_| true), Ok(32));
    #[cfg(feature = "std")]
    {
        use std::io::Read;
        let mut reader = shmem_core::ring::ByteReader::new(consumer);
        let error = reader.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}

#[test]
fn a_drain_counts_the_records_before_a_corrupt_header() {
    let heap = heap(256);
    let (mut producer, mut consumer) = ends(&heap);
    producer.push(b"good").unwrap();
    heap.window().word(DATA + 16).store(2, Relaxed);
    assert_eq!(consumer.drain(8, |_| true), Ok(1));
    assert!(matches!(
        consumer.drain(8, |_| true),
        Err(PopError::Corrupt(_))
    ));
}

#[test]
fn an_invalid_header_is_corrupt_permanently_and_reported_with_its_value() {
    let invalid = [
        2,
        4,
        0xffff_ffff,
        1 << 31 | 1,
        (200 << 2) | 1,
        (48 << 2) | 3,
    ];
    for word in invalid {
        let heap = heap(64);
        let (_producer, mut consumer) = ends(&heap);
        heap.window().word(DATA).store(word, Relaxed);
        let Err(PopError::Corrupt(corrupt)) = consumer.pop(&mut [0; 64]) else {
            panic!("{word:#x} was accepted as a header");
        };
        assert_eq!(
            (corrupt.word, corrupt.value),
            (ControlWord::RecordHeader, word)
        );
        heap.window().word(DATA).store(0, Relaxed);
        assert_eq!(consumer.pop(&mut [0; 64]), Err(PopError::Corrupt(corrupt)));
    }
}

#[test]
fn an_invalid_head_is_corrupt_permanently_and_reported_with_its_value() {
    for head in [64, 4, 0x8000_0000, u32::MAX] {
        let heap = heap(64);
        let (mut producer, _consumer) = ends(&heap);
        while producer.push(&[0; 8]) == Ok(()) {}
        heap.window().word(HEAD).store(head, Relaxed);
        let Err(PushError::Corrupt(corrupt)) = producer.push(&[0; 8]) else {
            panic!("{head:#x} was accepted as a head");
        };
        assert_eq!((corrupt.word, corrupt.value), (ControlWord::Head, head));
        heap.window().word(HEAD).store(48, Relaxed);
        assert_eq!(producer.push(b""), Err(PushError::Corrupt(corrupt)));
    }
}

/// Returns the errors of claiming each end and of an inspection.
fn claims(heap: &Heap) -> [Option<Corrupt>; 3] {
    let corrupt = |error| match error {
        ClaimError::Corrupt(corrupt) => corrupt,
        error => panic!("{error}"),
    };
    let producer = ring(heap)
        .claim_producer(Incarnation::first(1))
        .err()
        .map(corrupt);
    let consumer = ring(heap).claim_consumer(Incarnation::first(2), OnRestart::Keep);
    let seen = ring(heap).inspect(usize::MAX).corrupt();
    [producer, consumer.err().map(corrupt), seen]
}

#[test]
fn a_position_before_the_head_is_ignored_and_another_invalid_one_is_corrupt() {
    let corrupt = |value| {
        let word = ControlWord::Position;
        Some(Corrupt { word, value })
    };
    for (position, expected) in [
        (96, None),
        (80, None), // a late store of an evicted consumer
        (0x8000_0060, None),
        (100, corrupt(100)),
        (96 + 64, corrupt(96 + 64)),
        (0x7fff_ff00, corrupt(0x7fff_ff00)),
    ] {
        let heap = heap(64);
        for (at, value) in [(0, 96), (HEAD, 96), (POSITION, position)] {
            heap.window().word(at).store(value, Relaxed);
        }
        let [_, consumer, seen] = claims(&heap);
        assert_eq!((consumer, seen), (expected, expected), "{position:#x}");
        if expected.is_none() {
            let consumer = ring(&heap).take_over_consumer(Incarnation::first(2), OnRestart::Keep);
            assert_eq!(consumer.unwrap().position(), 96);
        }
    }
}

#[test]
fn an_expected_header_is_corrupt_where_its_record_does_not_fit() {
    let heap = heap(64);
    let (mut producer, mut consumer) = ends(&heap);
    for _ in 0..2 {
        producer.push(&[1; 16]).unwrap();
        pop(&mut consumer);
    }
    // The same header and stamp again, where such a record would exceed the end.
    let expected = [0, 4].map(|at| heap.window().word(DATA + at).load(Relaxed));
    assert_eq!(expected, [16 << 2 | 1, 1 << 16 | 1]);
    for (at, word) in expected.into_iter().enumerate() {
        heap.window().word(DATA + 48 + 4 * at).store(word, Relaxed);
    }
    let Err(PopError::Corrupt(corrupt)) = consumer.pop(&mut [0; 16]) else {
        panic!("it was accepted as a record");
    };
    assert_eq!(corrupt.value, expected[0]);
}

#[test]
fn invalid_positions_are_corrupt_at_each_claim_and_inspection() {
    use ControlWord::{Head, Tail};
    for (tail, head, word) in [
        (0, 4, Head),
        (0, 72, Head),
        (0, 1024, Head),
        (0x100, 0x7fff_fff8, Head),
        (u32::MAX - 7, 64, Head),
        (4, 0, Tail),
        (64, 0, Tail),
        (0x8000_0000, 0, Tail),
    ] {
        let heap = heap(64);
        heap.window().word(0).store(tail, Relaxed);
        heap.window().word(HEAD).store(head, Relaxed);
        let value = if word == Head { head } else { tail };
        let corrupt = Some(Corrupt { word, value });
        assert_eq!(claims(&heap), [corrupt; 3], "{tail:#x} {head:#x}");
        assert_eq!(ring(&heap).producer_owner(), None, "the claim is unchanged");
    }
    // `tail` may lag by an eighth of the ring and one publication.
    let heap = heap(64);
    for at in [HEAD, POSITION] {
        heap.window().word(at).store(64, Relaxed);
    }
    assert_eq!(claims(&heap), [None; 3]);
}

#[test]
fn an_invalid_epoch_is_corrupt_and_loses_no_record() {
    for (value, on_restart) in [0, 0x1_0000, u32::MAX]
        .into_iter()
        .flat_map(|value| [(value, OnRestart::Keep), (value, OnRestart::Discard)])
    {
        let heap = heap(256);
        let mut consumer = ring(&heap)
            .claim_consumer(Incarnation::first(2), on_restart)
            .unwrap();
        let mut producer = ring(&heap).claim_producer(Incarnation::first(1)).unwrap();
        producer.push(b"one").unwrap();
        assert_eq!(pop(&mut consumer), b"one");
        producer.push(b"two").unwrap();
        let before = [8, HEAD + 8].map(|at| heap.window().word(at).load(Relaxed));
        assert_eq!(before, [1, 1]);
        heap.window().word(8).store(value, Relaxed);
        heap.window().word(HEAD + 8).store(value, Relaxed);
        let corrupt = |word| Corrupt { word, value };
        let (ours, theirs) = (ControlWord::ConsumerEpoch, ControlWord::ProducerEpoch);
        assert_eq!(producer.push(b""), Err(PushError::Corrupt(corrupt(ours))));
        let error = Err(PopError::Corrupt(corrupt(theirs)));
        assert_eq!(consumer.pop(&mut [0; 8]), error);
        assert_eq!((consumer.discarded(), consumer.position()), (0, 16));
        assert!(!consumer.is_empty());
        heap.window().word(8).store(1, Relaxed);
        heap.window().word(HEAD + 8).store(1, Relaxed);
        assert_eq!(producer.push(b""), Err(PushError::Corrupt(corrupt(ours))));
        assert_eq!(consumer.pop(&mut [0; 8]), error);
        assert_eq!(consumer.drain(1, |_| true).map(drop), error.map(drop));
    }
}

#[test]
fn an_invalid_epoch_is_corrupt_in_an_empty_ring_and_at_each_claim() {
    for value in [0x1_0000, u32::MAX] {
        let heap = heap(64);
        let (_, mut consumer) = ends(&heap);
        heap.window().word(HEAD + 8).store(value, Relaxed);
        let word = ControlWord::ProducerEpoch;
        let corrupt = Corrupt { word, value };
        assert_eq!(consumer.pop(&mut [0; 8]), Err(PopError::Corrupt(corrupt)));
        drop(consumer);
        assert_eq!(claims(&heap), [Some(corrupt); 3]);
    }
}

#[test]
fn padding_without_a_record_is_corrupt_for_either_end() {
    let heap = heap(64);
    for at in [0, HEAD, POSITION] {
        heap.window().word(at).store(48, Relaxed);
    }
    heap.window().word(DATA + 48).store(8 << 2 | 3, Relaxed);
    let corrupt = Corrupt {
        word: ControlWord::RecordHeader,
        value: 0,
    };
    let producer = ring(&heap).claim_producer(Incarnation::first(1)).err();
    assert_eq!(producer, Some(ClaimError::Corrupt(corrupt)));
    let mut consumer = ring(&heap)
        .claim_consumer(Incarnation::first(2), OnRestart::Keep)
        .unwrap();
    assert_eq!(consumer.pop(&mut [0; 8]), Err(PopError::Corrupt(corrupt)));
    assert!(!consumer.is_empty());
}
