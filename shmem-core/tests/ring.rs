//! What a ring promises its two ends.
#![cfg(all(feature = "alloc", not(loom)))]

use std::collections::VecDeque;

use proptest::prelude::*;
use shmem_core::doorbell::Silent;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::ring::{ClaimError, Consumer, PopError, Producer, PushError, Ring, Unread};
use shmem_core::{ControlWord, Corrupt, Life};

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
        ring(heap).producer(Life::first(1)).unwrap(),
        ring(heap).consumer(Life::first(2), Unread::Keep).unwrap(),
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
fn a_segment_of_another_length_is_no_ring() {
    for len in [0, 8, 512, 512 + 32, 512 + 100, 512 + 96] {
        let heap = Heap::new(len);
        assert!(Ring::attach(heap.window()).is_err(), "{len}");
    }
}

#[test]
fn a_record_longer_than_the_ring_takes_is_an_error_and_changes_nothing() {
    let heap = heap(64);
    let (mut producer, mut consumer) = ends(&heap);
    producer.push(b"before").unwrap();
    let max = producer.ring().max_record();
    let error = Err(PushError::TooLong { len: max + 1, max });
    assert_eq!(producer.push(&vec![0; max + 1]), error);
    assert_eq!(pop(&mut consumer), b"before");
    assert!(consumer.is_empty());
}

#[test]
fn the_longest_record_fits_wherever_the_tail_stands() {
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
fn a_full_ring_takes_a_record_again_after_one_was_released() {
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
fn a_second_claim_of_an_end_is_an_error_until_the_first_is_dropped() {
    let heap = heap(64);
    let first = ring(&heap).producer(Life::first(1)).unwrap();
    let second = ring(&heap).producer(Life::first(3)).err();
    let by = Life::first(1);
    assert_eq!(second, Some(ClaimError::Claimed { by }));
    let again = ring(&heap).producer(by).err();
    assert_eq!(again, Some(ClaimError::Claimed { by }));
    assert!(ring(&heap).consumer(by, Unread::Keep).is_ok());
    drop(first);
    assert!(ring(&heap).producer(Life::first(3)).is_ok());
}

#[test]
fn a_claim_that_fails_or_is_taken_over_leaves_the_ring_to_its_owner() {
    let heap = heap(64);
    let first = ring(&heap).producer(Life::first(1)).unwrap();
    assert!(
        ring(&heap).producer(Life::first(3)).is_err(),
        "the claim was erased"
    );
    let second = ring(&heap).take_over_producer(Life::first(2)).unwrap();
    drop(first); // wakes up late, and must not erase its successor's claim
    let error = ring(&heap).producer(Life::first(3)).err();
    let by = Life::first(2);
    assert_eq!(error, Some(ClaimError::Claimed { by }));
    drop(second);
    heap.window().word(0).store(4, Relaxed);
    for _ in 0..2 {
        let error = ring(&heap).producer(Life::first(1)).err();
        assert!(
            matches!(error, Some(ClaimError::Corrupt(corrupt)) if corrupt.word == ControlWord::Tail)
        );
    }
}

#[test]
fn a_drain_ends_after_a_lap_and_a_stream_passes_empty_records() {
    let heap = heap(256);
    heap.window().word(HEAD + 8).store(1, Relaxed);
    for at in (DATA..DATA + 256).step_by(8) {
        heap.window().word(at).store(1, Relaxed); // records without bytes, for ever
    }
    let mut consumer = ring(&heap).consumer(Life::first(2), Unread::Keep).unwrap();
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
fn what_was_drained_before_a_mad_header_is_counted() {
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
fn a_new_producer_resumes_behind_what_a_dead_one_published() {
    let heap = heap(256);
    let (mut producer, mut consumer) = ends(&heap);
    producer.push(b"one").unwrap();
    producer.push(b"two").unwrap();
    std::mem::forget(producer);
    // Died between the header's store and the tail's.
    heap.window().word(0).store(16, Relaxed);
    let mut producer = ring(&heap).take_over_producer(Life::first(1)).unwrap();
    producer.push(b"three").unwrap();
    assert_eq!(pop(&mut consumer), b"one");
    assert_eq!(pop(&mut consumer), b"two");
    assert_eq!(consumer.pop(&mut [0; 8]), Err(PopError::Restarted));
    assert_eq!(pop(&mut consumer), b"three");
    // The same, after the consumer went past the stored tail.
    std::mem::forget(producer);
    heap.window().word(0).store(32, Relaxed);
    let mut producer = ring(&heap).take_over_producer(Life::first(1)).unwrap();
    producer.push(b"four").unwrap();
    assert_eq!(consumer.pop(&mut [0; 8]), Err(PopError::Restarted));
    assert_eq!(pop(&mut consumer), b"four");
}

#[test]
fn producers_that_die_one_after_the_other_leave_a_tail_that_lags_by_one_of_them() {
    let heap = heap(64);
    let (mut producer, mut consumer) = ends(&heap);
    let tail = heap.window().word(0);
    for life in 2..6 {
        let start = producer.position();
        assert_eq!(tail.load(Relaxed), start);
        let mut batch = producer.batch();
        for len in [8, 16] {
            batch.push(&vec![7; len]).unwrap();
        }
        batch.publish().unwrap();
        // Died between the header's store and the tail's.
        tail.store(start, Relaxed);
        std::mem::forget(producer);
        while consumer.pop(&mut [0; 16]) != Err(PopError::Empty) {}
        let life = Life::new(1, life).unwrap();
        producer = ring(&heap).take_over_producer(life).unwrap();
    }
}

#[test]
fn a_new_consumer_finds_what_the_dead_one_had_not_released() {
    let heap = heap(256);
    let (mut producer, mut consumer) = ends(&heap);
    producer.push(b"one").unwrap();
    producer.push(b"two").unwrap();
    pop(&mut consumer);
    assert_eq!(consumer.peek().unwrap().len(), 3);
    std::mem::forget(consumer);
    let mut consumer = ring(&heap)
        .take_over_consumer(Life::first(2), Unread::Keep)
        .unwrap();
    assert_eq!(pop(&mut consumer), b"two");
}

#[test]
fn a_batch_is_invisible_until_it_is_published_and_never_was_if_dropped() {
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
fn a_reservation_is_written_in_place_and_committed_shorter() {
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
fn a_mad_header_is_corrupt_for_good_and_names_its_value() {
    let mad = [
        2,
        4,
        0xffff_ffff,
        1 << 31 | 1,
        (200 << 2) | 1,
        (48 << 2) | 3,
    ];
    for word in mad {
        let heap = heap(64);
        let (_producer, mut consumer) = ends(&heap);
        heap.window().word(DATA).store(word, Relaxed);
        let Err(PopError::Corrupt(corrupt)) = consumer.pop(&mut [0; 64]) else {
            panic!("{word:#x} was taken for a header");
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
fn a_mad_head_is_corrupt_for_good_and_names_its_value() {
    for head in [64, 4, 0x8000_0000, u32::MAX] {
        let heap = heap(64);
        let (mut producer, _consumer) = ends(&heap);
        while producer.push(&[0; 8]) == Ok(()) {}
        heap.window().word(HEAD).store(head, Relaxed);
        let Err(PushError::Corrupt(corrupt)) = producer.push(&[0; 8]) else {
            panic!("{head:#x} was taken for a head");
        };
        assert_eq!((corrupt.word, corrupt.value), (ControlWord::Head, head));
        heap.window().word(HEAD).store(48, Relaxed);
        assert_eq!(producer.push(b""), Err(PushError::Corrupt(corrupt)));
    }
}

/// What claiming each end says, and what a look does.
fn claims(heap: &Heap) -> [Option<Corrupt>; 3] {
    let corrupt = |error| match error {
        ClaimError::Corrupt(corrupt) => corrupt,
        error => panic!("{error}"),
    };
    let producer = ring(heap).producer(Life::first(1)).err().map(corrupt);
    let consumer = ring(heap).consumer(Life::first(2), Unread::Keep);
    let seen = ring(heap).inspect(usize::MAX).corrupt();
    [producer, consumer.err().map(corrupt), seen]
}

#[test]
fn nothing_but_free_bytes_is_stored_to_when_lines_are_fetched() {
    // At each place of a ring whose lines are all taken, records of all kinds of lengths.
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
            consumer.notify(&Silent).unwrap();
        }
        while !consumer.is_empty() {
            assert_eq!(pop(&mut consumer), vec![received; len]);
            received = received.wrapping_add(1);
        }
        assert_eq!(sent, received);
    }
}

#[test]
fn the_longest_record_fits_where_nothing_is_left_once_the_consumer_has_seen_that() {
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
        // Where it is small all is given back at once.
        let is_late = !cfg!(feature = "small") && capacity == 256;
        assert!(refused != 0 || !is_late, "what is given back late is free");
    }
}

#[test]
fn a_tail_that_lies_costs_no_record_and_makes_none() {
    for tail in [0, 8, 17, 48, 1024, 1032, 0x8000_0000, u32::MAX] {
        let heap = heap(1024);
        let (mut producer, mut consumer) = ends(&heap);
        for n in 0..4_u8 {
            producer.push(&[n; 8]).unwrap();
        }
        heap.window().word(0).store(tail, Relaxed);
        for n in 0..4_u8 {
            assert_eq!(pop(&mut consumer), [n; 8], "{tail:#x}");
        }
        for _ in 0..2 {
            assert_eq!(consumer.pop(&mut [0; 8]), Err(PopError::Empty));
        }
    }
}

#[test]
fn a_position_before_the_head_is_a_late_one_and_no_other_is_out_of_reach() {
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
            let consumer = ring(&heap).take_over_consumer(Life::first(2), Unread::Keep);
            assert_eq!(consumer.unwrap().position(), 96);
        }
    }
}

#[test]
fn a_record_like_the_last_one_is_looked_at_all_the_same() {
    let heap = heap(64);
    let (mut producer, mut consumer) = ends(&heap);
    for _ in 0..2 {
        producer.push(&[1; 16]).unwrap();
        pop(&mut consumer);
    }
    // The same header and stamp again, where such a record would go past the end.
    let like = [0, 4].map(|at| heap.window().word(DATA + at).load(Relaxed));
    assert_eq!(like, [16 << 2 | 1, 1 << 16 | 1]);
    for (at, word) in like.into_iter().enumerate() {
        heap.window().word(DATA + 48 + 4 * at).store(word, Relaxed);
    }
    let Err(PopError::Corrupt(corrupt)) = consumer.pop(&mut [0; 16]) else {
        panic!("it was taken for a record");
    };
    assert_eq!(corrupt.value, like[0]);
}

#[test]
fn what_a_dropped_batch_found_free_at_the_start_is_not_taken_for_free_before() {
    let heap = heap(256);
    let (mut producer, mut consumer) = ends(&heap);
    for _ in 0..3 {
        producer.push(&[1; 56]).unwrap();
        pop(&mut consumer);
    }
    // At 192: the batch goes on at the start, the record after it does not.
    let mut batch = producer.batch();
    batch.push(&[2; 96]).unwrap();
    drop(batch);
    for n in 3..30_u8 {
        producer.push(&vec![n; n.into()]).unwrap();
        assert_eq!(pop(&mut consumer), vec![n; n.into()]);
    }
}

#[test]
fn positions_that_no_pair_of_ends_leaves_are_corrupt_at_each_claim_and_look() {
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
        assert_eq!(ring(&heap).producing(), None, "the claim stays as it was");
    }
    // `tail` may lag by an eighth and what is published at once.
    let heap = heap(64);
    for at in [HEAD, POSITION] {
        heap.window().word(at).store(64, Relaxed);
    }
    assert_eq!(claims(&heap), [None; 3]);
}

#[test]
fn an_epoch_out_of_range_is_corrupt_and_costs_no_record() {
    for (value, unread) in [0, 0x1_0000, u32::MAX]
        .into_iter()
        .flat_map(|value| [(value, Unread::Keep), (value, Unread::Discard)])
    {
        let heap = heap(256);
        let mut consumer = ring(&heap).consumer(Life::first(2), unread).unwrap();
        let mut producer = ring(&heap).producer(Life::first(1)).unwrap();
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
fn an_epoch_out_of_range_is_corrupt_where_nothing_is_published_and_at_each_claim() {
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
    let producer = ring(&heap).producer(Life::first(1)).err();
    assert_eq!(producer, Some(ClaimError::Corrupt(corrupt)));
    let mut consumer = ring(&heap).consumer(Life::first(2), Unread::Keep).unwrap();
    assert_eq!(consumer.pop(&mut [0; 8]), Err(PopError::Corrupt(corrupt)));
    assert!(!consumer.is_empty());
}

#[test]
fn positions_wrap_past_two_to_the_thirty_two() {
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
fn a_byte_stream_keeps_every_byte_value_in_order() {
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

#[test]
fn typed_records_go_one_by_one_and_in_slices() {
    use shmem_core::ring::{TypedConsumer, TypedProducer};

    let heap = heap(256);
    let (producer, consumer) = ends(&heap);
    let mut producer = TypedProducer::<[u32; 2]>::new(producer);
    let mut consumer = TypedConsumer::<[u32; 2]>::new(consumer);
    producer.push(&[1, 2]).unwrap();
    assert_eq!(consumer.pop(), Ok([1, 2]));
    assert_eq!(consumer.pop(), Err(PopError::Empty));
    assert_eq!(producer.push_slice(&[[7, 8]; 100]), Ok(15));
    let mut values = [[0; 2]; 100];
    assert_eq!(consumer.pop_slice(&mut values), Ok(15));
    assert!(values[..15].iter().all(|value| *value == [7, 8]));
    producer.get_mut().push(b"odd").unwrap();
    assert_eq!(consumer.pop(), Err(PopError::WrongSize { len: 3 }));
    assert_eq!(
        consumer.pop_slice(&mut values),
        Err(PopError::WrongSize { len: 3 })
    );
}

/// What `call` says when it is not told of a restart; each is told once.
fn told<E, T, F: core::fmt::Debug>(
    end: &mut E,
    mut call: impl FnMut(&mut E) -> Result<T, F>,
) -> Result<T, F> {
    loop {
        match call(end) {
            Err(error) if format!("{error:?}") == "Restarted" => {}
            result => return result,
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(Vec<u8>),
    Reserve(Vec<u8>, usize),
    Batch(Vec<Vec<u8>>),
    DropBatch(Vec<Vec<u8>>),
    Pop,
    Drain(usize),
    RestartProducer,
    RestartConsumer,
}

fn step() -> impl Strategy<Value = Step> {
    // Long ones fit into a large ring alone, and are copied by parts.
    let record = || {
        prop_oneof![
            3 => proptest::collection::vec(any::<u8>(), 0..120),
            1 => (any::<u8>(), 500..4000_u32)
                .prop_map(|(first, len)| (0..len).map(|n| first ^ n as u8).collect()),
        ]
    };
    prop_oneof![
        4 => record().prop_map(Step::Push),
        2 => (record(), 0..32_usize).prop_map(|(r, more)| Step::Reserve(r, more)),
        2 => proptest::collection::vec(record(), 0..4).prop_map(Step::Batch),
        1 => proptest::collection::vec(record(), 1..4).prop_map(Step::DropBatch),
        5 => Just(Step::Pop),
        2 => (0..5_usize).prop_map(Step::Drain),
        1 => Just(Step::RestartProducer),
        1 => Just(Step::RestartConsumer),
    ]
}

proptest! {
    #[test]
    fn a_ring_is_a_queue_whatever_is_done_to_it(
        steps in proptest::collection::vec(step(), 1..300),
        start in any::<u32>(),
        is_large in any::<bool>(),
    ) {
        let heap = heap(if is_large { 8192 } else { 256 });
        for at in [0, HEAD, POSITION] {
            heap.window().word(at).store(start / 8 * 8, Relaxed);
        }
        let (mut producer, mut consumer) = ends(&heap);
        let mut queue = VecDeque::new();
        for step in steps {
            match step {
                Step::Push(record) => match told(&mut producer, |end| end.push(&record)) {
                    Ok(()) => queue.push_back(record),
                    Err(PushError::Full) if queue.is_empty() => {
                        // The consumer gives back the rest when it finds nothing.
                        let empty = told(&mut consumer, |end| end.pop(&mut []));
                        prop_assert_eq!(empty, Err(PopError::Empty));
                        told(&mut producer, |end| end.push(&record)).unwrap();
                        queue.push_back(record);
                    }
                    Err(PushError::Full) => {}
                    Err(PushError::TooLong { max, .. }) => prop_assert!(record.len() > max),
                    Err(error) => prop_assert!(false, "{error}"),
                },
                Step::Reserve(record, more) => {
                    let len = record.len() + more;
                    if told(&mut producer, |end| end.reserve(len).map(drop)).is_ok() {
                        let mut reservation = producer.reserve(len).unwrap();
                        reservation.write(0, &record);
                        reservation.commit(record.len()).unwrap();
                        queue.push_back(record);
                    }
                }
                Step::Batch(records) => {
                    let _ = told(&mut producer, |end| end.reserve(0).map(drop));
                    let mut batch = producer.batch();
                    let pushed: Vec<_> = records
                        .into_iter()
                        .filter(|record| batch.push(record).is_ok())
                        .collect();
                    batch.publish().unwrap();
                    queue.extend(pushed);
                }
                Step::DropBatch(records) => {
                    let mut batch = producer.batch();
                    for record in records {
                        let _ = batch.push(&record);
                    }
                }
                Step::Pop => {
                    let mut record = [0; 4096];
                    match told(&mut consumer, |end| end.pop(&mut record)) {
                        Ok(len) => prop_assert_eq!(Some(record[..len].to_vec()), queue.pop_front()),
                        Err(error) => {
                            prop_assert_eq!(error, PopError::Empty);
                            prop_assert!(queue.is_empty());
                        }
                    }
                }
                Step::Drain(limit) => {
                    let mut drained = Vec::new();
                    let count = told(&mut consumer, |end| end.drain(limit, |record| {
                        let mut bytes = Vec::new();
                        record.read_into(&mut bytes);
                        drained.push(bytes);
                        true
                    }));
                    // A restart ends it, too.
                    prop_assert!(count.unwrap() <= limit.min(queue.len()));
                    prop_assert_eq!(count == Ok(0), limit == 0 || queue.is_empty());
                    prop_assert_eq!(drained, queue.drain(..count.unwrap()).collect::<Vec<_>>());
                }
                Step::RestartProducer => {
                    std::mem::forget(producer);
                    producer = ring(&heap).take_over_producer(Life::first(1)).unwrap();
                }
                Step::RestartConsumer => {
                    std::mem::forget(consumer);
                    consumer = ring(&heap).take_over_consumer(Life::first(2), Unread::Keep).unwrap();
                }
            }
        }
    }
}
