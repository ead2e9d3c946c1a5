//! How the ends of a typed ring report each other's restarts.

use proptest::prelude::*;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::typed_ring::{ClaimError, PushError};
use shmem_core::wait::Spin;

use super::*;

#[test]
fn a_restart_is_reported_once_between_the_results_of_two_producers() {
    let heap = heap::<u64>(16);
    let mut results = consumer(&heap, 1, OnRestart::Keep);
    let mut first = producer(&heap, 1);
    first.push_slice(&[1, 2]).unwrap();
    kill(first);
    producer(&heap, 2).push(&3).unwrap();
    assert_eq!(drain(&mut results), [1, 2, 0, 3]);
    assert_eq!(
        results.ring().producer_owner(),
        None,
        "it has released its end"
    );
}

#[test]
fn the_first_producer_is_not_a_restart_and_a_second_one_without_records_is() {
    for on_restart in KINDS {
        let heap = heap::<u64>(16);
        let mut end = consumer(&heap, 1, on_restart);
        assert!(end.is_empty());
        kill(producer(&heap, 1));
        assert!(end.is_empty(), "the first producer is not a restart");
        let mut second = producer(&heap, 2);
        assert!(!end.is_empty());
        assert!(end.wait(&mut Spin::checks(0)));
        assert_eq!(end.peek(), Err(PopError::Restarted));
        assert!(end.is_empty(), "the restart is reported once");
        second.push(&1).unwrap();
        assert_eq!(drain(&mut end), [1]);
    }
}

#[test]
fn producers_without_records_are_reported_as_one_restart() {
    for on_restart in KINDS {
        let heap = heap::<u64>(16);
        let mut end = consumer(&heap, 1, on_restart);
        producer(&heap, 1).push(&1).unwrap();
        assert_eq!(drain(&mut end), [1]);
        for number in 2..10 {
            kill(producer(&heap, number));
        }
        assert_eq!(drain(&mut end), [0]);
    }
}

#[test]
fn each_restart_is_reported_between_the_records_of_two_producers() {
    let heap = heap::<u64>(16);
    let mut end = consumer(&heap, 1, OnRestart::Keep);
    for n in 1..=3 {
        let mut producer = producer(&heap, n as u32);
        producer.push_slice(&[n, n]).unwrap();
        kill(producer);
    }
    assert_eq!(drain(&mut end), [1, 1, 0, 2, 2, 0, 3, 3]);
    // More producers than words: some restarts are reported as one, no record is lost.
    for n in 4..=12 {
        let mut producer = producer(&heap, n as u32);
        producer.push(&n).unwrap();
        kill(producer);
    }
    assert_eq!(
        drain(&mut end),
        [0, 4, 5, 6, 7, 8, 0, 9, 0, 10, 0, 11, 0, 12][1..].to_vec()
    );
}

#[test]
fn commands_to_an_earlier_consumer_are_discarded_and_counted() {
    let heap = heap::<u64>(64);
    let mut commands = producer(&heap, 1);
    kill(consumer(&heap, 1, OnRestart::Discard));
    commands.push_slice(&[1, 2]).unwrap();
    let mut new = consumer(&heap, 2, OnRestart::Discard);
    // For the consumer before: the producer has not noted this one yet.
    assert_eq!(commands.push(&3), Err(PushError::Restarted));
    commands.push(&4).unwrap();
    assert_eq!(drain(&mut new), [4]);
    assert_eq!(new.discarded(), 2);
    kill(new);
    assert_eq!(consumer(&heap, 3, OnRestart::Discard).discarded(), 2);
}

#[test]
fn commands_of_an_earlier_producer_are_discarded_and_counted() {
    let heap = heap::<u64>(16);
    let mut end = consumer(&heap, 1, OnRestart::Discard);
    let mut first = producer(&heap, 1);
    first.push_slice(&[1, 2, 2]).unwrap();
    assert_eq!(end.pop(), Ok(1));
    first.push(&3).unwrap();
    kill(first);
    producer(&heap, 2).push(&4).unwrap();
    // Records that were known before the restart are still returned.
    assert_eq!(drain(&mut end), [2, 2, 0, 4]);
    assert_eq!(end.discarded(), 1);
}

#[test]
fn records_before_the_first_consumer_are_for_the_first_one_only() {
    for (incarnations, expected) in [(1, vec![1]), (2, vec![])] {
        let heap = heap::<u64>(16);
        let mut commands = producer(&heap, 1);
        commands.push(&1).unwrap();
        let mut end = consumer(&heap, 1, OnRestart::Discard);
        if incarnations == 2 {
            kill(end);
            end = consumer(&heap, 2, OnRestart::Discard);
        }
        assert_eq!(drain(&mut end), expected, "consumer {incarnations}");
        // The producer does not report the first consumer that it notes.
        assert_eq!(commands.push(&2), Ok(()));
        assert_eq!(drain(&mut end), [2]);
    }
}

#[test]
fn no_old_command_is_received_if_both_ends_restart() {
    let heap = heap::<u64>(16);
    let mut old = producer(&heap, 1);
    kill(consumer(&heap, 1, OnRestart::Discard));
    old.push(&1).unwrap();
    kill(old);
    let mut new = consumer(&heap, 2, OnRestart::Discard);
    producer(&heap, 2).push(&2).unwrap();
    assert_eq!(drain(&mut new), [0, 2]);
    assert_eq!(new.discarded(), 1);
}

#[test]
fn an_end_released_and_claimed_again_by_one_incarnation_is_not_a_restart() {
    for on_restart in KINDS {
        let heap = heap::<u64>(16);
        let (mut commands, mut end) = (producer(&heap, 1), consumer(&heap, 1, on_restart));
        commands.push(&1).unwrap();
        assert_eq!(drain(&mut end), [1]);
        // Far enough that positions wrap after the last claim.
        for n in 0..70_000 {
            commands.push(&n).unwrap();
            assert_eq!(end.pop(), Ok(n));
        }
        for n in 2..20 {
            drop(end);
            commands.push(&n).unwrap();
            drop(commands);
            commands = producer(&heap, 1);
            commands.push(&n).unwrap();
            end = consumer(&heap, 1, on_restart);
            assert_eq!(drain(&mut end), [n, n], "{on_restart:?}");
        }
    }
}

#[test]
fn a_restarted_consumer_resumes_where_the_one_before_it_stopped() {
    let heap = heap::<u64>(64);
    let mut results = consumer(&heap, 1, OnRestart::Keep);
    let mut first = producer(&heap, 1);
    first.push_slice(&[1, 2, 3]).unwrap();
    assert_eq!(results.pop(), Ok(1));
    assert_eq!(results.peek(), Ok(2));
    kill(results);
    kill(first);
    producer(&heap, 2).push(&4).unwrap();
    let mut results = consumer(&heap, 2, OnRestart::Keep);
    assert_eq!((results.pop(), results.pop()), (Ok(2), Ok(3)));
    kill(results);
    // No record of the first producer is left, so the third consumer gets no report of its
    // restart.
    assert_eq!(drain(&mut consumer(&heap, 3, OnRestart::Keep)), [4]);
}

#[test]
fn a_start_65536_positions_ago_is_not_treated_as_a_later_one() {
    let heap = heap::<u64>(16);
    let mut producer = producer(&heap, 1);
    let mut results = consumer(&heap, 1, OnRestart::Keep);
    for n in 1..=65_532 {
        producer.push(&n).unwrap();
        assert_eq!(results.pop(), Ok(n));
    }
    // Across the position at which the producer began.
    producer.push_slice(&[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    kill(results);
    let mut results = consumer(&heap, 2, OnRestart::Keep);
    assert_eq!(drain(&mut results), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_record_for_the_first_consumer_is_not_lost_if_the_producer_notes_it_first() {
    let heap = heap::<u64>(16);
    let mut commands = producer(&heap, 1);
    commands.push(&1).unwrap();
    let mut end = consumer(&heap, 1, OnRestart::Discard);
    commands.push(&2).unwrap();
    assert_eq!(drain(&mut end), [1, 2]);
}

#[test]
fn a_late_consumer_receives_restarts_between_the_kept_records() {
    for first in [1, 2] {
        let heap = heap::<u64>(64);
        for n in first..=8 {
            let mut producer = producer(&heap, n as u32);
            producer.push(&n).unwrap();
            kill(producer);
        }
        let found = drain(&mut consumer(&heap, 1, OnRestart::Keep));
        let values: Vec<u64> = found.iter().copied().filter(|&n| n != 0).collect();
        assert_eq!(values, (first..=8).collect::<Vec<_>>());
        assert!(found.ends_with(&[0, 6, 0, 7, 0, 8]), "{found:?}");
    }
}

#[test]
fn a_producer_reports_a_restart_at_its_next_call_however_much_is_free() {
    let heap = heap::<u64>(1024);
    let mut end = producer(&heap, 1);
    for number in 1..10 {
        kill(consumer(&heap, number, OnRestart::Keep));
        let (one, several) = (end.push(&1), end.push_slice(&[2, 3]));
        match number {
            1 => assert_eq!(
                (one, several),
                (Ok(()), Ok(2)),
                "the first is not a restart"
            ),
            _ => assert_eq!((one, several), (Err(PushError::Restarted), Ok(2))),
        }
        end.push(&4).unwrap();
    }
}

#[test]
fn another_partition_gets_the_end_of_a_dead_one_only_by_takeover() {
    let heap = heap::<u64>(16);
    kill(producer(&heap, 1));
    let other = Incarnation::first(3);
    let error = ring::<u64>(&heap).claim_producer(other).err();
    assert_eq!(
        error,
        Some(ClaimError::Claimed {
            holder: incarnation(1, 1)
        })
    );
    let mut end = consumer(&heap, 1, OnRestart::Keep);
    let mut taken = ring::<u64>(&heap).take_over_producer(other).unwrap();
    taken.push(&1).unwrap();
    assert_eq!(end.ring().producer_owner(), Some(other));
    assert_eq!(end.ring().consumer_owner(), Some(incarnation(2, 1)));
    assert_eq!(drain(&mut end), [0, 1]);
}

#[test]
fn epoch_1_follows_the_last_one() {
    let heap = heap::<u64>(16);
    let (mut producer, mut end) = (producer(&heap, 1), consumer(&heap, 1, OnRestart::Keep));
    for n in 1..66_000 {
        kill(producer);
        producer = super::producer(&heap, n + 1);
        producer.push(&1).unwrap();
        assert_eq!(drain(&mut end)[..], [0, 1], "{n}");
    }
    for n in 1..66_000 {
        kill(end);
        end = consumer(&heap, n + 1, OnRestart::Discard);
        assert_eq!(producer.push(&2), Err(PushError::Restarted), "{n}");
        producer.push(&3).unwrap();
        assert_eq!(drain(&mut end), [3]);
    }
}

#[test]
fn a_start_with_all_bits_set_is_found() {
    let heap = heap::<u64>(16);
    // The epochs before the last one, at the last position.
    for offset in [0, 16, 128, 256, 192] {
        heap.window().word(offset + 4).store(0xfffd_ffff, Relaxed);
        heap.window().word(offset + 8).store(0xfffe_ffff, Relaxed);
    }
    let mut end = consumer(&heap, 1, OnRestart::Keep);
    assert!(end.is_empty());
    let mut producer = producer(&heap, 1);
    producer.push(&1).unwrap();
    assert_eq!(drain(&mut end), [0, 1]);
    kill(end);
    let mut end = consumer(&heap, 2, OnRestart::Keep);
    assert_eq!(producer.push(&2), Err(PushError::Restarted));
    producer.push(&3).unwrap();
    assert_eq!(drain(&mut end), [3]);
}

#[test]
fn a_late_store_of_the_fourth_producer_before_is_ignored_and_repaired() {
    let heap = heap::<u64>(16);
    let mut end = consumer(&heap, 1, OnRestart::Keep);
    for number in 1..5 {
        kill(producer(&heap, number));
    }
    let mut producer = producer(&heap, 5);
    producer.push(&1).unwrap();
    drain(&mut end);
    producer.push(&2).unwrap();
    let words = heap.window();
    // Stores of the first producer, which had the same words as the fifth.
    words.word(4).store(1 << 16 | 9, Relaxed);
    words.word(20).store(1 << 16, Relaxed);
    assert_eq!(drain(&mut end), [], "no new record, and not corrupt");
    producer.notify(&shmem_core::doorbell::NoDoorbell).unwrap();
    assert_eq!(words.word(20).load(Relaxed), 5 << 16);
    assert_eq!(drain(&mut end), [2]);
}

/// A step of the property tests.
#[derive(Clone, Copy, Debug)]
enum Step {
    Push(u8),
    Pop(u8),
    RestartProducer,
    RestartConsumer,
    Poll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..6_u8).prop_map(Step::Push),
        4 => (1..6_u8).prop_map(Step::Pop),
        1 => Just(Step::RestartProducer),
        1 => Just(Step::RestartConsumer),
        1 => Just(Step::Poll),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_result_is_lost_or_repeated_if_either_end_restarts(
        steps in prop::collection::vec(step(), 1..80),
        exponent in 1..5_u32,
    ) {
        let heap = heap::<u64>(1 << exponent);
        let (mut producing, mut consuming) = (1, 1);
        let mut end = consumer(&heap, consuming, OnRestart::Keep);
        let mut source = producer(&heap, producing);
        let (mut sent, mut received) = (0, 0);
        for step in steps {
            match step {
                Step::Push(count) => for _ in 0..count {
                    match source.push(&(sent + 1)) {
                        Ok(()) => sent += 1,
                        Err(PushError::Full | PushError::Restarted) => {}
                        Err(error) => panic!("{error}"),
                    }
                },
                Step::Pop(count) => for _ in 0..count {
                    match end.pop() {
                        Ok(value) => {
                            received += 1;
                            prop_assert_eq!(value, received);
                        }
                        Err(PopError::Empty | PopError::Restarted) => {}
                        Err(error) => panic!("{error}"),
                    }
                },
                Step::RestartProducer => {
                    producing += 1;
                    kill(source);
                    source = producer(&heap, producing);
                }
                Step::RestartConsumer => {
                    consuming += 1;
                    kill(end);
                    end = consumer(&heap, consuming, OnRestart::Keep);
                }
                Step::Poll => {
                    end.is_empty();
                }
            }
        }
        prop_assert_eq!(received + drain(&mut end).iter().filter(|&&n| n != 0).count() as u64, sent);
    }

    #[test]
    fn no_command_reaches_a_consumer_that_it_was_not_sent_to(
        steps in prop::collection::vec(step(), 1..80),
        exponent in 1..7_u32,
    ) {
        let heap = heap::<u64>(1 << exponent);
        let (mut producing, mut consuming) = (1, 1);
        let mut end = consumer(&heap, consuming, OnRestart::Discard);
        let mut source = producer(&heap, producing);
        // The consumer that the producer sends to, as reported to it.
        let mut known = consuming;
        let mut restarted = false;
        for step in steps {
            match step {
                Step::Push(count) => for _ in 0..count {
                    match source.push(&(u64::from(known) << 32 | u64::from(producing))) {
                        Ok(()) | Err(PushError::Full) => {}
                        Err(PushError::Restarted) => known = consuming,
                        Err(error) => panic!("{error}"),
                    }
                },
                Step::Pop(count) => for _ in 0..count {
                    match end.pop() {
                        Ok(value) => {
                            prop_assert_eq!(value >> 32, u64::from(consuming));
                            let by = value as u32;
                            prop_assert!(by == producing || restarted);
                        }
                        Err(PopError::Empty | PopError::Restarted) => restarted = false,
                        Err(error) => panic!("{error}"),
                    }
                },
                Step::RestartProducer => {
                    (producing, known) = (producing + 1, consuming);
                    // Records that were known before may be popped until the next poll.
                    restarted = true;
                    kill(source);
                    source = producer(&heap, producing);
                }
                Step::RestartConsumer => {
                    consuming += 1;
                    kill(end);
                    end = consumer(&heap, consuming, OnRestart::Discard);
                }
                Step::Poll => {
                    end.is_empty();
                }
            }
        }
    }
}
