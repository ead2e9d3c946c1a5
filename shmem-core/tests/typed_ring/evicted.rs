//! An end of a typed ring that was taken over while its incarnation was alive.

use shmem_core::doorbell::NoDoorbell;
use shmem_core::typed_ring::PushError;
use shmem_core::wait::Spin;

use super::*;

const SUCCESSOR: Incarnation = Incarnation::first(3);

/// Returns all of the ring's memory.
fn bytes(heap: &Heap) -> Vec<u8> {
    let mut bytes = vec![0; heap.window().len()];
    heap.window().read(0, &mut bytes);
    bytes
}

#[test]
fn every_call_of_an_evicted_producer_is_an_error_and_stores_nothing() {
    for (on_restart, expected) in KINDS.into_iter().zip([&[2, 0, 3, 4][..], &[0, 3, 4]]) {
        let heap = heap::<u64>(16);
        let (mut late, mut end) = (producer(&heap, 1), consumer(&heap, 1, on_restart));
        late.push(&1).unwrap();
        assert_eq!(end.pop(), Ok(1));
        late.push(&2).unwrap();
        let mut successor = ring::<u64>(&heap).take_over_producer(SUCCESSOR).unwrap();
        successor.push(&3).unwrap();
        let before = bytes(&heap);
        assert_eq!(late.push(&9), Err(PushError::Evicted));
        assert_eq!(late.push_slice(&[9, 9]), Err(PushError::Evicted));
        let waited = late.wait_for_space(&mut Spin::forever());
        assert_eq!(waited, Err(PushError::Evicted));
        assert_eq!(late.notify(&NoDoorbell), Err(PushError::Evicted));
        drop(late);
        assert_eq!(bytes(&heap), before);
        successor.push(&4).unwrap();
        assert_eq!(drain(&mut end), expected);
    }
}

#[test]
fn every_call_of_an_evicted_consumer_is_an_error_and_stores_nothing() {
    for on_restart in KINDS {
        let heap = heap::<u64>(16);
        let (mut producer, mut late) = (producer(&heap, 1), consumer(&heap, 1, on_restart));
        producer.push_slice(&[1, 2]).unwrap();
        assert_eq!(late.peek(), Ok(1));
        let successor = ring::<u64>(&heap).take_over_consumer(SUCCESSOR, on_restart);
        let mut successor = successor.unwrap();
        let kept: &[u64] = match on_restart {
            OnRestart::Keep => &[1, 2],
            OnRestart::Discard => &[],
        };
        assert_eq!(drain(&mut successor), kept);
        assert_eq!(producer.push(&3), Err(PushError::Restarted));
        // More than a lap, so that other records now have the slots that the late one knows.
        for n in 3..40 {
            producer.push(&n).unwrap();
            assert_eq!(drain(&mut successor), [n]);
        }
        let before = bytes(&heap);
        let evicted = PopError::Evicted;
        assert_eq!(late.release(), Err(evicted));
        assert_eq!(late.pop(), Err(evicted));
        assert_eq!(late.peek(), Err(evicted));
        assert_eq!(late.pop_slice(&mut [0; 8]), Err(evicted));
        assert!(!late.is_empty());
        assert!(late.wait(&mut Spin::checks(0)));
        assert_eq!(late.notify(&NoDoorbell), Err(evicted));
        drop(late);
        assert_eq!(bytes(&heap), before);
        producer.push(&50).unwrap();
        assert_eq!(drain(&mut successor), [50]);
    }
}

#[test]
fn an_evicted_handle_stays_evicted_if_its_incarnation_claims_the_end_again() {
    let heap = heap::<u64>(16);
    let (mut late, mut end) = (producer(&heap, 1), consumer(&heap, 1, OnRestart::Keep));
    late.push_slice(&[1, 2]).unwrap();
    drop(ring::<u64>(&heap).take_over_producer(SUCCESSOR).unwrap());
    assert_eq!(late.push(&9), Err(PushError::Evicted));
    assert_eq!(end.pop(), Ok(1));
    let kept = ring::<u64>(&heap).take_over_consumer(SUCCESSOR, OnRestart::Keep);
    drop(kept.unwrap());
    assert_eq!(end.pop(), Err(PopError::Evicted));
    let _again = producer(&heap, 1);
    let mut other = consumer(&heap, 1, OnRestart::Keep);
    assert_eq!(late.push(&9), Err(PushError::Evicted));
    assert_eq!(end.pop(), Err(PopError::Evicted));
    assert_eq!(drain(&mut other), [2, 0]);
}

#[test]
fn an_incarnation_that_takes_over_its_own_end_restarts_it() {
    let heap = heap::<u64>(16);
    let (mut first, mut end) = (producer(&heap, 1), consumer(&heap, 1, OnRestart::Keep));
    first.push(&1).unwrap();
    kill(first);
    let mut second = ring::<u64>(&heap)
        .take_over_producer(incarnation(1, 1))
        .unwrap();
    second.push(&2).unwrap();
    assert_eq!(drain(&mut end), [1, 0, 2]);
    kill(end);
    let again = ring::<u64>(&heap).take_over_consumer(incarnation(2, 1), OnRestart::Keep);
    assert_eq!(second.push(&3), Err(PushError::Restarted));
    drop(again.unwrap());
}

/// An end that stops before each of its stores, is taken over, and continues.
#[cfg(feature = "crash")]
mod stalls {
    use shmem_core::crash;

    use super::*;

    /// Returns a value of eight equal bytes, so that a garbled value is recognizable.
    const fn value(n: u64) -> u64 {
        n * 0x0101_0101_0101_0101
    }

    fn all(end: &mut TypedConsumer<'_, u64>) -> Vec<u64> {
        drain(end).iter().map(|v| v & 0xff).collect()
    }

    #[test]
    fn a_producer_stopped_at_any_store_disturbs_no_record_of_its_successor() {
        // At store 0 it has not claimed the end yet, and the last claimant has it.
        for at in 1..40 {
            for on_restart in KINDS {
                let heap = heap::<u64>(16);
                let mut end = consumer(&heap, 1, on_restart);
                let mut seen = Vec::new();
                let work = || {
                    let mut done = 0;
                    let Ok(mut late) = ring::<u64>(&heap).claim_producer(incarnation(1, 1)) else {
                        return done;
                    };
                    for n in 1..=3 {
                        done += u64::from(late.push(&value(n)).is_ok());
                    }
                    let pushed = late.push_slice(&[value(4), value(5)]);
                    kill(late);
                    done + pushed.unwrap_or(0) as u64
                };
                let mut successor = None;
                let (done, stopped) = crash::stall(at, work, || {
                    let next = ring::<u64>(&heap).take_over_producer(SUCCESSOR).unwrap();
                    let next = successor.insert(next);
                    next.push_slice(&[value(6), value(7)]).unwrap();
                    if at % 2 == 0 {
                        seen = all(&mut end);
                    }
                    next.push(&value(8)).unwrap();
                });
                seen.extend(all(&mut end));
                if !stopped {
                    continue;
                }
                assert!(seen.ends_with(&[6, 7, 8]), "stopped at {at}: {seen:?}");
                successor.unwrap().push(&value(9)).unwrap();
                seen.extend(all(&mut end));
                let of_late: Vec<u64> = (1..=done).collect();
                let found: Vec<u64> = seen.iter().copied().filter(|&n| n != 0).collect();
                let (before, after) = found.split_at(found.len() - 4);
                assert_eq!(after, [6, 7, 8, 9], "stopped at {at}: {seen:?}");
                match on_restart {
                    OnRestart::Keep => assert_eq!(before, of_late, "stopped at {at}: {seen:?}"),
                    OnRestart::Discard => assert!(before.is_empty()),
                }
            }
        }
    }

    #[test]
    fn each_record_is_received_once_if_a_consumer_stops_at_any_store() {
        for at in 1..40 {
            let heap = heap::<u64>(8);
            let mut producer = producer(&heap, 1);
            producer.push_slice(&[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
            let work = || {
                let mut popped = Vec::new();
                let Ok(mut late) =
                    ring::<u64>(&heap).claim_consumer(incarnation(2, 1), OnRestart::Keep)
                else {
                    return popped;
                };
                for _ in 0..3 {
                    popped.extend(late.pop().ok());
                }
                let mut values = [0; 2];
                let count = late.pop_slice(&mut values).unwrap_or(0);
                popped.extend(&values[..count]);
                kill(late);
                popped
            };
            let mut found = Vec::new();
            let mut successor = None;
            let (mut popped, stopped) = crash::stall(at, work, || {
                let next = ring::<u64>(&heap).take_over_consumer(SUCCESSOR, OnRestart::Keep);
                let next = successor.insert(next.unwrap());
                found.extend(drain(next));
                for n in 9..30 {
                    while producer.push(&n) == Err(PushError::Restarted) {}
                    found.extend(drain(next));
                }
            });
            if !stopped {
                continue;
            }
            producer.push(&30).unwrap();
            found.extend(drain(&mut successor.unwrap()));
            popped.extend(found);
            assert_eq!(popped, (1..=30).collect::<Vec<_>>(), "stopped at {at}");
        }
    }
}
