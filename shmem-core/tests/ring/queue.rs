//! Compares a ring with a queue, for any sequence of calls and restarts.

use std::collections::VecDeque;

use proptest::prelude::*;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::ring::{OnRestart, PopError, PushError};
use shmem_core::Incarnation;

use super::{ends, heap, ring, HEAD, POSITION};

/// Repeats `call` until it returns something other than `Restarted`.
fn after_restarts<E, T, F: core::fmt::Debug>(
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
    // Long records fit only into a large ring, and are copied in parts.
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
    fn a_ring_is_a_queue_for_any_sequence_of_calls_and_restarts(
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
                Step::Push(record) => match after_restarts(&mut producer, |end| end.push(&record)) {
                    Ok(()) => queue.push_back(record),
                    Err(PushError::Full) if queue.is_empty() => {
                        // The consumer stores `head` when it finds the ring empty.
                        let empty = after_restarts(&mut consumer, |end| end.pop(&mut []));
                        prop_assert_eq!(empty, Err(PopError::Empty));
                        after_restarts(&mut producer, |end| end.push(&record)).unwrap();
                        queue.push_back(record);
                    }
                    Err(PushError::Full) => {}
                    Err(PushError::TooLong { max }) => prop_assert!(record.len() > max as usize),
                    Err(error) => prop_assert!(false, "{error}"),
                },
                Step::Reserve(record, more) => {
                    let len = record.len() + more;
                    if after_restarts(&mut producer, |end| end.reserve(len).map(drop)).is_ok() {
                        let mut reservation = producer.reserve(len).unwrap();
                        reservation.write(0, &record);
                        reservation.commit(record.len()).unwrap();
                        queue.push_back(record);
                    }
                }
                Step::Batch(records) => {
                    let _ = after_restarts(&mut producer, |end| end.reserve(0).map(drop));
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
                    match after_restarts(&mut consumer, |end| end.pop(&mut record)) {
                        Ok(len) => prop_assert_eq!(Some(record[..len].to_vec()), queue.pop_front()),
                        Err(error) => {
                            prop_assert_eq!(error, PopError::Empty);
                            prop_assert!(queue.is_empty());
                        }
                    }
                }
                Step::Drain(limit) => {
                    let mut drained = Vec::new();
                    let count = after_restarts(&mut consumer, |end| end.drain(limit, |record| {
                        let mut bytes = Vec::new();
                        record.read_into(&mut bytes);
                        drained.push(bytes);
                        true
                    }));
                    // A restart also ends a drain.
                    prop_assert!(count.unwrap() <= limit.min(queue.len()));
                    prop_assert_eq!(count == Ok(0), limit == 0 || queue.is_empty());
                    prop_assert_eq!(drained, queue.drain(..count.unwrap()).collect::<Vec<_>>());
                }
                Step::RestartProducer => {
                    std::mem::forget(producer);
                    producer = ring(&heap).take_over_producer(Incarnation::first(1)).unwrap();
                }
                Step::RestartConsumer => {
                    std::mem::forget(consumer);
                    consumer = ring(&heap).take_over_consumer(Incarnation::first(2), OnRestart::Keep).unwrap();
                }
            }
        }
    }
}
