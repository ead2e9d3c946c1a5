//! The inspection of a ring by a third partition.
#![cfg(all(feature = "alloc", not(loom)))]

use std::sync::atomic::AtomicBool;
use std::thread;

use proptest::prelude::*;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::ring::inspect::{Backlog, Stop};
use shmem_core::ring::{OnRestart, Ring};
use shmem_core::{ControlWord, Corrupt, Incarnation, Window};

const CAPACITY: usize = 256;
/// Offset of `head`, as `docs/layout.md` gives it.
const HEAD: usize = 128;
/// Offset of the first record's header.
const DATA: usize = 512;

fn heap() -> Heap {
    Heap::new(Ring::segment_len(CAPACITY))
}

fn ring(heap: &Heap) -> Ring<'_> {
    Ring::attach(heap.window()).unwrap()
}

#[test]
fn zeroed_memory_is_an_empty_ring_without_claims() {
    let heap = heap();
    let seen = ring(&heap).inspect(100);
    let empty = Backlog {
        records: 0,
        earlier: 0,
        bytes: 0,
        stop: Stop::Nothing,
    };
    assert_eq!(seen.backlog, empty);
    assert_eq!(
        (seen.producer.incarnation(), seen.consumer.is_held()),
        (None, false)
    );
}

#[test]
fn unread_records_are_counted_and_returned() {
    let heap = heap();
    let ring = ring(&heap);
    let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
    let mut consumer = ring
        .claim_consumer(Incarnation::first(2), OnRestart::Keep)
        .unwrap();
    for record in [&b"released"[..], b"one", b"two and more"] {
        producer.push(record).unwrap();
    }
    consumer.pop(&mut [0; 8]).unwrap();

    let seen = ring.inspect(100);
    // The producer stores `tail` after each eighth of the ring, or always if `small`.
    let last = if cfg!(feature = "small") { 24 } else { 0 };
    assert_eq!((seen.position, seen.tail), (16, 16 + 16 + last));
    assert_eq!((seen.backlog.records, seen.backlog.bytes), (2, 16 + 24));
    assert_eq!(seen.producer.incarnation(), Some(Incarnation::first(1)));
    assert!(seen.producer.is_held());
    assert_eq!(ring.inspect(1).backlog.stop, Stop::Limit);

    let lens: Vec<usize> = ring.unread().map(|pending| pending.record.len()).collect();
    assert_eq!(lens, [3, 12]);
}

#[test]
fn a_released_end_shows_its_last_incarnation() {
    let heap = heap();
    let ring = ring(&heap);
    drop(ring.claim_producer(Incarnation::first(1)).unwrap());
    let seen = ring.inspect(0);
    assert_eq!(seen.producer.incarnation(), Some(Incarnation::first(1)));
    assert!(!seen.producer.is_held());
}

#[test]
fn records_of_an_earlier_epoch_are_counted_separately() {
    let heap = heap();
    let ring = ring(&heap);
    // For the first consumer, which then claims its end.
    ring.claim_producer(Incarnation::first(1))
        .unwrap()
        .push(b"a")
        .unwrap();
    drop(
        ring.claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap(),
    );
    assert_eq!(ring.inspect(100).backlog.earlier, 0);

    let next = Incarnation::new(1, 2).unwrap();
    ring.claim_producer(next).unwrap().push(b"b").unwrap();
    let backlog = ring.inspect(100).backlog;
    assert_eq!((backlog.records, backlog.earlier), (2, 1));
    let epochs: Vec<_> = ring
        .unread()
        .map(|pending| pending.producer_epoch)
        .collect();
    assert_eq!(epochs, [1, 2]);
}

#[test]
fn corrupt_words_are_reported_with_their_values() {
    let heap = heap();
    let (ring, window) = (ring(&heap), heap.window());
    let end_with = |at: usize, value| {
        let before = window.word(at).load(Relaxed);
        window.word(at).store(value, Relaxed);
        let end = ring.inspect(1000).backlog.stop;
        window.word(at).store(before, Relaxed);
        end
    };
    let corrupt = |word, value| Stop::Corrupt(Corrupt { word, value });
    assert_eq!(end_with(HEAD, 12), corrupt(ControlWord::Head, 12));
    assert_eq!(end_with(DATA, 2), corrupt(ControlWord::RecordHeader, 2));
    // An empty record in each place: one more than the ring has room for.
    for at in (0..CAPACITY).step_by(8) {
        window.word(DATA + at).store(1, Relaxed);
    }
    let full = ring.inspect(1000).backlog;
    assert_eq!(full.stop, corrupt(ControlWord::Tail, CAPACITY as u32));
    assert_eq!(full.records, CAPACITY / 8);
}

#[test]
fn padding_without_a_record_is_corrupt() {
    let heap = heap();
    let (ring, window) = (ring(&heap), heap.window());
    window.word(HEAD).store(CAPACITY as u32 - 16, Relaxed);
    let padding = (16 - 8) << 2 | 3;
    window.word(DATA + CAPACITY - 16).store(padding, Relaxed);
    let nothing = Stop::Corrupt(Corrupt {
        word: ControlWord::RecordHeader,
        value: 0,
    });
    assert_eq!(ring.inspect(1000).backlog.stop, nothing);
}

#[test]
fn inspecting_a_ring_in_use_finds_no_corrupt_word_and_mixes_no_widths() {
    // Miri reports mixed widths, and false alarms from payload (see the `loom: none` mark).
    let records = if cfg!(miri) { 40 } else { 20_000 };
    let heap = heap();
    let ring = ring(&heap);
    let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
    let mut consumer = ring
        .claim_consumer(Incarnation::first(2), OnRestart::Keep)
        .unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..records {
                while producer.push(&[n as u8; 40][..n % 41]).is_err() {
                    thread::yield_now();
                }
            }
        });
        scope.spawn(|| {
            for _ in 0..records {
                while consumer.pop(&mut [0; 40]).is_err() {
                    thread::yield_now();
                }
            }
            done.store(true, Relaxed);
        });
        while !done.load(Relaxed) {
            let seen = ring.inspect(1000);
            assert!(cfg!(miri) || seen.corrupt().is_none(), "{seen:?}");
            for pending in ring.unread() {
                pending.record.read(0, &mut [0; CAPACITY]);
            }
            thread::yield_now();
        }
    });
}

proptest! {
    #[test]
    fn inspection_accepts_any_bytes(
        words in prop::collection::vec((0..(DATA + CAPACITY) / 4, any::<u32>()), 0..40),
        plausible in prop::collection::vec((0..CAPACITY / 8, 0_u32..40), 0..40),
    ) {
        let heap = heap();
        let window: Window<'_> = heap.window();
        for (at, len) in plausible {
            window.word(DATA + at * 8).store(len << 2 | 1, Relaxed);
        }
        for (at, value) in words {
            window.word(at * 4).store(value, Relaxed);
        }
        let ring = ring(&heap);
        let seen = ring.inspect(usize::MAX);
        prop_assert!(seen.backlog.records <= CAPACITY / 8);
        let shown = ring.unread().inspect(|pending| {
            pending.record.read(0, &mut [0; CAPACITY]);
        });
        prop_assert_eq!(shown.count(), seen.backlog.records);
    }
}
