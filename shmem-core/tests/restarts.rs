//! How the ends of a ring report each other's restarts.
#![cfg(not(loom))]

use proptest::prelude::*;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::ring::{
    ClaimError, Consumer, OnRestart, PopError, Producer, PushError, Ring, MAX_DISCARDS,
};
use shmem_core::wait::Spin;
use shmem_core::{ControlWord, Incarnation};

fn ring(heap: &Heap) -> Ring<'_> {
    Ring::attach(heap.window()).unwrap()
}

fn heap() -> Heap {
    Heap::new(Ring::segment_len(256))
}

fn incarnation(partition: u8, number: u32) -> Incarnation {
    Incarnation::new(partition, number).unwrap()
}

/// Claims the producing end for incarnation `number` of partition 1.
fn producer(heap: &Heap, number: u32) -> Producer<'_> {
    ring(heap).claim_producer(incarnation(1, number)).unwrap()
}

/// Claims the consuming end for incarnation `number` of partition 2.
fn consumer(heap: &Heap, number: u32, on_restart: OnRestart) -> Consumer<'_> {
    ring(heap)
        .claim_consumer(incarnation(2, number), on_restart)
        .unwrap()
}

/// Ends an incarnation without running its destructor.
fn kill<T>(end: T) {
    core::mem::forget(end);
}

fn pop(consumer: &mut Consumer<'_>) -> Result<u8, PopError> {
    let mut record = [0; 8];
    consumer.pop(&mut record).map(|_| record[0])
}

#[test]
fn a_restart_is_reported_once_between_the_results_of_two_producers() {
    let heap = heap();
    let mut results = consumer(&heap, 1, OnRestart::Keep);
    let mut first = producer(&heap, 1);
    first.push(&[1]).unwrap();
    first.push(&[2]).unwrap();
    kill(first);
    let mut second = producer(&heap, 2);
    second.push(&[3]).unwrap();
    assert_eq!(pop(&mut results), Ok(1));
    assert_eq!(pop(&mut results), Ok(2));
    assert_eq!(pop(&mut results), Err(PopError::Restarted));
    assert_eq!(pop(&mut results), Ok(3));
    assert_eq!(pop(&mut results), Err(PopError::Empty));
    assert_eq!(results.ring().producer_owner(), Some(incarnation(1, 2)));
}

#[test]
fn a_restart_is_reported_although_the_new_producer_has_sent_nothing() {
    for on_restart in [OnRestart::Keep, OnRestart::Discard] {
        let heap = heap();
        let mut end = consumer(&heap, 1, on_restart);
        kill(producer(&heap, 1));
        assert_eq!(
            pop(&mut end),
            Err(PopError::Empty),
            "the first producer is not a restart"
        );
        let mut first = producer(&heap, 2);
        first.push(&[1]).unwrap();
        assert_eq!(
            pop(&mut end),
            Ok(1),
            "nor is a restart before the first record"
        );
        kill(first);
        kill(producer(&heap, 3));
        assert!(!end.is_empty());
        assert_eq!(pop(&mut end), Err(PopError::Restarted));
        assert_eq!(pop(&mut end), Err(PopError::Empty));
    }
}

#[test]
fn commands_to_an_earlier_incarnation_are_discarded_and_counted() {
    let heap = heap();
    let mut commands = producer(&heap, 1);
    kill(consumer(&heap, 1, OnRestart::Discard));
    commands.push(&[1]).unwrap();
    commands.push(&[2]).unwrap();
    let mut new = consumer(&heap, 2, OnRestart::Discard);
    // For the incarnation before: the producer has not noted this one yet.
    assert_eq!(commands.push(&[3]), Err(PushError::Restarted));
    assert_eq!(commands.push(&[4]), Ok(()));
    assert_eq!(pop(&mut new), Ok(4));
    assert_eq!(new.discarded(), 2);
    kill(new);
    assert_eq!(consumer(&heap, 3, OnRestart::Discard).discarded(), 2);
}

#[test]
fn commands_of_an_earlier_incarnation_are_discarded_and_counted() {
    let heap = heap();
    let mut end = consumer(&heap, 1, OnRestart::Discard);
    let mut first = producer(&heap, 1);
    first.push(&[1]).unwrap();
    first.push(&[2]).unwrap();
    assert_eq!(pop(&mut end), Ok(1));
    kill(first);
    let mut second = producer(&heap, 2);
    second.push(&[3]).unwrap();
    assert_eq!(pop(&mut end), Err(PopError::Restarted));
    assert_eq!(pop(&mut end), Ok(3));
    assert_eq!(end.discarded(), 1);
}

#[test]
fn records_before_the_first_consumer_are_for_the_first_one_only() {
    for (incarnations, expected) in [(1, Ok(1)), (2, Err(PopError::Empty))] {
        let heap = heap();
        producer(&heap, 1).push(&[1]).unwrap();
        let mut end = consumer(&heap, 1, OnRestart::Discard);
        if incarnations == 2 {
            kill(end);
            end = consumer(&heap, 2, OnRestart::Discard);
        }
        assert_eq!(pop(&mut end), expected, "incarnation {incarnations}");
    }
}

#[test]
fn no_old_command_is_received_if_both_ends_restart() {
    let heap = heap();
    let mut old = producer(&heap, 1);
    kill(consumer(&heap, 1, OnRestart::Discard));
    old.push(&[1]).unwrap();
    kill(old);
    let mut new = consumer(&heap, 2, OnRestart::Discard);
    let mut commands = producer(&heap, 2);
    commands.push(&[2]).unwrap();
    assert_eq!(pop(&mut new), Err(PopError::Restarted));
    assert_eq!(pop(&mut new), Ok(2));
    assert_eq!(pop(&mut new), Err(PopError::Empty));
    assert_eq!(new.discarded(), 1);
}

#[test]
fn an_end_released_and_claimed_again_by_one_incarnation_is_not_a_restart() {
    let heap = heap();
    let mut commands = producer(&heap, 1);
    let mut end = consumer(&heap, 1, OnRestart::Discard);
    commands.push(&[1]).unwrap();
    assert_eq!(pop(&mut end), Ok(1));
    drop(end);
    commands.push(&[2]).unwrap();
    drop(commands);
    producer(&heap, 1).push(&[3]).unwrap();
    let mut end = consumer(&heap, 1, OnRestart::Discard);
    assert_eq!((pop(&mut end), pop(&mut end)), (Ok(2), Ok(3)));
}

#[test]
fn another_partition_gets_the_end_of_a_dead_one_only_by_takeover() {
    let heap = heap();
    kill(producer(&heap, 1));
    let other = Incarnation::first(3);
    let holder = incarnation(1, 1);
    let error = ring(&heap).claim_producer(other).err();
    assert_eq!(error, Some(ClaimError::Claimed { holder }));
    let mut end = consumer(&heap, 1, OnRestart::Keep);
    let mut taken = ring(&heap).take_over_producer(other).unwrap();
    taken.push(&[1]).unwrap();
    assert_eq!(pop(&mut end), Err(PopError::Restarted));
    assert_eq!(pop(&mut end), Ok(1));
    assert_eq!(end.ring().producer_owner(), Some(other));
}

#[test]
fn a_claim_without_an_incarnation_is_corrupt() {
    let heap = heap();
    heap.window().word(4).store(7, Relaxed);
    let error = ring(&heap).claim_producer(Incarnation::first(1)).err();
    assert!(matches!(error, Some(ClaimError::Corrupt(corrupt)) if corrupt.value == 7));
}

#[test]
fn a_drain_stops_at_a_restart_and_the_next_one_reports_it() {
    let heap = heap();
    let mut end = consumer(&heap, 1, OnRestart::Keep);
    let mut first = producer(&heap, 1);
    first.push(&[1]).unwrap();
    kill(first);
    producer(&heap, 2).push(&[2]).unwrap();
    assert_eq!(end.drain(9, |_| true), Ok(1));
    assert_eq!(end.drain(9, |_| true), Err(PopError::Restarted));
    assert_eq!(end.drain(9, |_| true), Ok(1));
}

#[test]
fn a_record_of_a_producer_that_never_claimed_its_end_is_corrupt() {
    for on_restart in [OnRestart::Keep, OnRestart::Discard] {
        let heap = heap();
        let mut end = consumer(&heap, 1, on_restart);
        heap.window().word(512).store(1, Relaxed);
        let Err(PopError::Corrupt(corrupt)) = pop(&mut end) else {
            panic!("it was accepted as a record, or discarded");
        };
        assert_eq!(
            (corrupt.word, corrupt.value),
            (ControlWord::ProducerEpoch, 0)
        );
    }
}

#[test]
fn a_report_of_a_restart_stores_the_head() {
    let heap = Heap::new(Ring::segment_len(1024));
    let ring = Ring::attach(heap.window()).unwrap();
    let mut end = ring
        .claim_consumer(Incarnation::first(2), OnRestart::Keep)
        .unwrap();
    let mut first = ring.claim_producer(Incarnation::first(1)).unwrap();
    first.push(&[1]).unwrap();
    assert_eq!(end.pop(&mut [0; 8]), Ok(1));
    drop(first);
    let _next = ring
        .claim_producer(Incarnation::new(1, 2).unwrap())
        .unwrap();
    assert_eq!(end.pop(&mut [0; 8]), Err(PopError::Restarted));
    assert_eq!(heap.window().word(128).load(Relaxed), 16);
}

#[test]
fn one_call_discards_a_limited_number_of_records() {
    let heap = heap();
    let window = heap.window();
    // A ring full of records for another incarnation, from an earlier producer, without end.
    window.word(136).store(1, Relaxed);
    for at in (512..512 + 256).step_by(8) {
        window.word(at).store(1, Relaxed);
        window.word(at + 4).store(77, Relaxed);
    }
    let mut end = consumer(&heap, 1, OnRestart::Discard);
    assert_eq!(pop(&mut end), Err(PopError::Empty));
    assert_eq!(end.discarded(), MAX_DISCARDS);
    assert!(end.wait(&mut Spin::checks(0)), "it slept on records");
    assert!(end.discarded() <= 2 * MAX_DISCARDS + 1);
}

#[test]
fn a_consumer_does_not_sleep_if_a_command_follows_many_discarded_ones() {
    let heap = Heap::new(Ring::segment_len(8192));
    let mut commands = producer(&heap, 1);
    kill(consumer(&heap, 1, OnRestart::Discard));
    for _ in 0..200 {
        commands.push(&[1]).unwrap();
    }
    let mut end = consumer(&heap, 2, OnRestart::Discard);
    assert_eq!(commands.push(&[2]), Err(PushError::Restarted));
    commands.push(&[2]).unwrap();
    let mut calls = 0;
    while pop(&mut end) == Err(PopError::Empty) {
        calls += 1;
        assert!(end.wait(&mut Spin::checks(0)), "it slept before a command");
    }
    assert!((1..=4).contains(&calls), "{calls}");
    assert_eq!(end.discarded(), 200);
    assert!(end.is_empty());
}

#[cfg(feature = "std")]
mod streams {
    use std::io::{ErrorKind, Read};

    use super::*;
    use shmem_core::ring::ByteReader;

    /// Returns the result of a read of up to `len` bytes: a restart is `#`, an empty ring `.`.
    fn read(reader: &mut ByteReader<'_>, len: usize) -> String {
        let mut bytes = vec![0; len];
        match reader.read(&mut bytes) {
            Ok(count) => String::from_utf8(bytes[..count].to_vec()).unwrap(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => ".".into(),
            Err(error) => {
                let inner = error.into_inner().unwrap();
                assert_eq!(inner.downcast_ref(), Some(&PopError::Restarted));
                "#".into()
            }
        }
    }

    #[test]
    fn a_stream_never_joins_part_of_a_record_to_bytes_of_the_next_producer() {
        for (on_restart, expected) in [
            (OnRestart::Discard, ["rm -rf", "#", "rm /tmp/x", ".", "."]),
            (
                OnRestart::Keep,
                ["rm -rf", " /tmp/old", "#", "rm /tmp/x", "."],
            ),
        ] {
            let heap = heap();
            let mut reader = ByteReader::new(consumer(&heap, 1, on_restart));
            let mut first = producer(&heap, 1);
            first.push(b"rm -rf /tmp/old").unwrap();
            let start = read(&mut reader, 6);
            kill(first);
            producer(&heap, 2).push(b"rm /tmp/x").unwrap();
            let rest = [64, 64, 64, 64].map(|len| read(&mut reader, len));
            assert_eq!([&[start][..], &rest].concat(), expected);
        }
    }

    #[test]
    fn a_stream_reports_a_restart_once_between_the_bytes_of_two_producers() {
        let heap = heap();
        let mut reader = ByteReader::new(consumer(&heap, 1, OnRestart::Keep));
        let mut first = producer(&heap, 1);
        first.push(b"one").unwrap();
        first.push(b"two").unwrap();
        kill(first);
        producer(&heap, 2).push(b"three").unwrap();
        let said = [64; 5].map(|len| read(&mut reader, len));
        assert_eq!(said, ["onetwo", "#", "three", ".", "."]);
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Push,
    Pop,
    RestartProducer,
    RestartConsumer,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => Just(Step::Push),
        5 => Just(Step::Pop),
        1 => Just(Step::RestartProducer),
        1 => Just(Step::RestartConsumer),
    ]
}

proptest! {
    /// A command is received only if neither end has restarted since its push. Each command that
    /// was pushed is received or discarded.
    #[test]
    fn no_command_is_received_after_a_restart_of_either_end(steps in proptest::collection::vec(step(), 1..200)) {
        let heap = heap();
        let (mut from, mut to) = (1, 1);
        let mut commands = producer(&heap, from);
        let mut end = consumer(&heap, to, OnRestart::Discard);
        // The consumer's incarnation that the producer has noted.
        let mut noted = 0;
        let (mut pushed, mut popped) = (0, 0);
        for step in steps {
            match step {
                Step::Push => {
                    let restarted = noted != 0 && noted != to;
                    match commands.push(&[from as u8, to as u8]) {
                        Ok(()) => pushed += 1,
                        Err(PushError::Restarted) => prop_assert!(restarted),
                        Err(error) => prop_assert_eq!(error, PushError::Full),
                    }
                    noted = to;
                }
                Step::Pop => {
                    let mut record = [0; 8];
                    match end.pop(&mut record) {
                        Ok(_) => {
                            prop_assert_eq!(record[..2].to_vec(), vec![from as u8, to as u8]);
                            popped += 1;
                        }
                        Err(error) => prop_assert!(
                            matches!(error, PopError::Empty | PopError::Restarted)
                        ),
                    }
                }
                Step::RestartProducer => {
                    from += 1;
                    kill(std::mem::replace(&mut commands, producer(&heap, from)));
                    noted = to;
                }
                Step::RestartConsumer => {
                    to += 1;
                    kill(std::mem::replace(&mut end, consumer(&heap, to, OnRestart::Discard)));
                }
            }
        }
        loop {
            match pop(&mut end) {
                Ok(_) => popped += 1,
                Err(PopError::Restarted) => {}
                Err(_) => break,
            }
        }
        prop_assert_eq!(pushed, popped + end.discarded());
    }
}
