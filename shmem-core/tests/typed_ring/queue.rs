//! Records are received unchanged and in order.

use shmem_core::doorbell::NoDoorbell;
use shmem_core::layout::{MAX_SLOTS, MAX_TYPED_RECORD};
use shmem_core::primitive::{AtomicU32, Ordering::Relaxed};
use shmem_core::typed_ring::inspect::Inspection;
use shmem_core::typed_ring::{AttachError, PushError};
use shmem_core::wait::{Pause, Spin, Wait};

use super::*;

/// Pushes and pops `count` values, one by one and in slices of every length up to 7.
fn check_transfer<T>(slots: usize, count: u32, value: fn(u32) -> T)
where
    T: bytemuck::NoUninit + bytemuck::AnyBitPattern + PartialEq + core::fmt::Debug,
{
    let heap = heap::<T>(slots);
    let mut producer = ring::<T>(&heap)
        .claim_producer(Incarnation::first(1))
        .unwrap();
    let mut consumer = ring::<T>(&heap)
        .claim_consumer(Incarnation::first(2), OnRestart::Keep)
        .unwrap();
    let (mut sent, mut received) = (0, 0);
    while received < count {
        let len = sent % 8;
        let values: Vec<T> = (sent..sent + len).map(value).collect();
        match len {
            0 if producer.push(&value(sent)).is_ok() => sent += 1,
            0 => {}
            _ => sent += producer.push_slice(&values).unwrap_or(0) as u32,
        }
        assert!(sent - received <= slots as u32);
        let mut values = [value(0); 8];
        let popped = consumer.pop_slice(&mut values[..(received % 8) as usize]);
        for found in &values[..popped.unwrap()] {
            assert_eq!(*found, value(received));
            received += 1;
        }
        if let Ok(found) = consumer.pop() {
            assert_eq!(found, value(received));
            received += 1;
        }
    }
}

#[test]
fn values_of_any_size_are_received_unchanged_over_many_laps() {
    check_transfer(2, 1_000, |n| n as u8);
    check_transfer(16, 1_000, |n| [n as u8; 3]);
    check_transfer(64, 1_000, |n| n);
    check_transfer(256, 200_000, u64::from);
    check_transfer(8, 1_000, |n| [n, !n, n + 1]);
    check_transfer(128, 2_000, |n| [u64::from(n); 8]);
    check_transfer(4, 300, |n| [u64::from(n); 128]);
    check_transfer(4, 300, |n| [[n as u8; 31]; 31]);
    check_transfer(MAX_SLOTS, 100_000, |n| n as u16);
}

#[test]
fn a_full_ring_is_reported_and_a_slice_is_pushed_as_far_as_it_fits() {
    let heap = heap::<u64>(8);
    let (mut producer, mut consumer) = (producer(&heap, 1), consumer(&heap, 1, OnRestart::Keep));
    assert_eq!(producer.push_slice(&[]), Ok(0));
    assert_eq!(producer.push_slice(&[1; 20]), Ok(8));
    assert_eq!(producer.push(&2), Err(PushError::Full));
    assert_eq!(producer.push_slice(&[2]), Err(PushError::Full));
    assert_eq!(consumer.pop_slice(&mut [0; 3]), Ok(3));
    assert_eq!(producer.push_slice(&[2; 20]), Ok(3));
    assert_eq!(drain(&mut consumer), [1, 1, 1, 1, 1, 2, 2, 2]);
    assert_eq!(consumer.pop_slice(&mut [0; 3]), Ok(0));
}

#[test]
fn a_peeked_record_stays_the_next_one_until_it_is_released() {
    let heap = heap::<u64>(8);
    let (mut producer, mut consumer) = (producer(&heap, 1), consumer(&heap, 1, OnRestart::Keep));
    assert_eq!(consumer.peek(), Err(PopError::Empty));
    assert_eq!(consumer.release(), Ok(()));
    producer.push_slice(&[1, 2]).unwrap();
    assert_eq!((consumer.peek(), consumer.peek()), (Ok(1), Ok(1)));
    assert_eq!(consumer.position(), 0);
    consumer.release().unwrap();
    consumer.release().unwrap();
    assert_eq!((consumer.position(), consumer.remaining()), (1, 1));
    let mut value = 7;
    consumer.pop_into(&mut value).unwrap();
    assert_eq!(value, 2);
    assert_eq!(consumer.pop_into(&mut value), Err(PopError::Empty));
    assert_eq!(value, 2);
}

#[test]
fn a_segment_of_another_length_is_an_error() {
    let attach = |len: usize| {
        let heap = Heap::new(len);
        ring_error::<[u32; 3]>(&heap)
    };
    for len in [
        0,
        632,
        640,
        640 + 16,
        640 + 3 * 16,
        640 + 4 * 12,
        640 + 4 * 16 + 8,
    ] {
        let len = len / 8 * 8;
        assert_eq!(attach(len), Some(AttachError::Geometry { len, slot: 16 }));
    }
    assert_eq!(attach(640 + 2 * 16), None);
    let most = 640 + MAX_SLOTS * 16;
    assert_eq!(attach(most), None);
    assert!(attach(640 + 2 * MAX_SLOTS * 16).is_some());
    let heap = heap::<[u8; MAX_TYPED_RECORD]>(2);
    assert_eq!(ring::<[u8; MAX_TYPED_RECORD]>(&heap).slots(), 2);
}

fn ring_error<T>(heap: &Heap) -> Option<AttachError> {
    TypedRing::<T>::attach(heap.window()).err()
}

#[test]
fn attaching_with_a_type_of_another_size_is_an_error_after_a_claim() {
    for consumes in [false, true] {
        let heap = heap::<u64>(16);
        assert_eq!(ring_error::<[u8; 7]>(&heap), None);
        match consumes {
            true => drop(consumer(&heap, 1, OnRestart::Keep)),
            false => drop(producer(&heap, 1)),
        }
        let error = AttachError::RecordSize {
            found: 8,
            expected: 7,
        };
        assert_eq!(ring_error::<[u8; 7]>(&heap), Some(error));
        assert_eq!(ring_error::<u64>(&heap), None);
    }
}

#[test]
fn claiming_with_a_type_of_another_size_is_an_error() {
    let heap = heap::<u64>(16);
    let other = TypedRing::<[u8; 7]>::attach(heap.window()).unwrap();
    drop(producer(&heap, 1));
    assert!(other
        .claim_consumer(incarnation(2, 1), OnRestart::Keep)
        .is_err());
    assert!(other.claim_producer(incarnation(1, 1)).is_err());
    assert_eq!(other.consumer_owner(), None);
    assert_eq!(heap.window().word(148).load(Relaxed), 0);
    let _consumer = consumer(&heap, 1, OnRestart::Keep);
}

/// A wait that sleeps once and calls its function meanwhile.
struct SleepOnce<F: FnMut()>(F, u32);

impl<F: FnMut()> Wait for SleepOnce<F> {
    fn pause(&mut self) -> Pause {
        self.1 += 1;
        match self.1 {
            1 => Pause::Sleep,
            _ => Pause::TimedOut,
        }
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {
        (self.0)();
    }
}

#[test]
fn a_waiter_is_woken_by_a_record_and_by_space() {
    let heap = heap::<u64>(16);
    let mut producer = producer(&heap, 1);
    let mut consumer = consumer(&heap, 1, OnRestart::Keep);
    assert_eq!(producer.notify(&NoDoorbell), Ok(false));
    let rings = || {
        producer.push(&1).unwrap();
        assert_eq!(producer.notify(&NoDoorbell), Ok(true));
    };
    assert!(consumer.wait(&mut SleepOnce(rings, 0)));
    assert_eq!(consumer.pop(), Ok(1));
    assert!(!consumer.wait(&mut Spin::checks(3)));

    assert_eq!(producer.push_slice(&[2; 20]), Ok(16));
    assert_eq!(producer.wait_for_space(&mut Spin::checks(3)), Ok(false));
    let frees = || {
        assert_eq!(consumer.pop(), Ok(2));
        assert_eq!(consumer.notify(&NoDoorbell), Ok(true));
    };
    assert_eq!(producer.wait_for_space(&mut SleepOnce(frees, 0)), Ok(true));
    assert_eq!(producer.remaining(), 1);
    producer.push(&3).unwrap();
}

#[test]
#[cfg(not(feature = "small"))]
fn the_head_is_stored_after_each_eighth_and_when_the_ring_is_empty() {
    let heap = heap::<u64>(64);
    let (mut producer, mut consumer) = (producer(&heap, 1), consumer(&heap, 1, OnRestart::Keep));
    // Removes epoch 1 from the word.
    let head = || heap.window().word(132).load(Relaxed) - (1 << 16);
    producer.push_slice(&[1; 64]).unwrap();
    for (n, stored) in [(7, 0), (1, 8), (7, 8), (1, 16), (3, 16)] {
        for _ in 0..n {
            consumer.pop().unwrap();
        }
        assert_eq!(head(), stored);
    }
    consumer.notify(&NoDoorbell).unwrap();
    assert_eq!(head(), 19);
    consumer.pop().unwrap();
    drop(consumer);
    assert_eq!(head(), 20);
    let mut again = super::consumer(&heap, 1, OnRestart::Keep);
    assert_eq!(drain(&mut again).len(), 44);
    assert_eq!(head(), 64);
}

#[test]
fn two_threads_pass_every_value_in_order() {
    let heap = heap::<[u64; 3]>(32);
    let mut producer = ring::<[u64; 3]>(&heap)
        .claim_producer(Incarnation::first(1))
        .unwrap();
    let consumer =
        ring::<[u64; 3]>(&heap).claim_consumer(Incarnation::first(2), OnRestart::Discard);
    let mut consumer = consumer.unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..50_000_u64 {
                while producer.push(&[n; 3]) == Err(PushError::Full) {
                    std::thread::yield_now();
                }
            }
        });
        for n in 0..50_000_u64 {
            let found = loop {
                match consumer.pop() {
                    Err(PopError::Empty) => std::thread::yield_now(),
                    found => break found.unwrap(),
                }
            };
            assert_eq!(found, [n; 3]);
        }
    });
}

#[test]
fn inspection_shows_the_positions_and_claims_of_both_ends() {
    let heap = heap::<u64>(64);
    let inspect = || Inspection::new(heap.window()).unwrap();
    let nothing = inspect();
    assert_eq!((nothing.record_size, nothing.backlog()), (0, 0));
    assert_eq!(
        (nothing.producer.incarnation(), nothing.consumer.word),
        (None, 0)
    );
    kill(producer(&heap, 1));
    let mut producer = producer(&heap, 2);
    let mut consumer = consumer(&heap, 1, OnRestart::Discard);
    producer.push_slice(&[1; 20]).unwrap();
    for _ in 0..9 {
        consumer.pop().unwrap();
    }
    drop(producer);
    let found = inspect();
    assert_eq!((found.record_size, found.backlog()), (8, 11));
    assert_eq!((found.tail, found.position), (20, 9));
    let ends = [found.producer, found.consumer];
    assert_eq!(ends.map(|end| end.epoch), [2, 1]);
    assert_eq!(ends.map(|end| end.is_held()), [false, true]);
    assert_eq!(
        ends.map(|end| end.incarnation()),
        [incarnation(1, 2), incarnation(2, 1)].map(Some)
    );
    kill(consumer);
    drain(&mut super::consumer(&heap, 2, OnRestart::Discard));
    assert_eq!(inspect().discarded, 11);
    let short = Heap::new(256);
    assert!(Inspection::new(short.window()).is_err());
}
