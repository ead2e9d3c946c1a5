//! What the barrier guarantees: which parties pass, which are waited for, and which deaths are
//! reported.
#![cfg(all(feature = "linux", target_os = "linux", not(loom)))]

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::Instant;

use shmem_core::crash::{self, Ended};
use shmem_core::doorbell::NoDoorbell;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::{Spin, Wait};
use shmem_core::{ControlWord, Corrupt, Incarnation};
use shmem_sync::{
    Arrival, AssumeAlive, Barrier, BarrierAttachError, BarrierError, Futex, FutexBell, Liveness,
    PartitionState, SpinYield,
};

mod support;
use support::{attach_barrier, Dead};

const FIRST: Incarnation = Incarnation::first(1);
const SECOND: Incarnation = Incarnation::first(2);

fn heap(partitions: u8) -> Heap {
    Heap::new(Barrier::segment_len(partitions))
}

fn barrier(heap: &Heap, incarnation: Incarnation, parties: usize) -> Barrier<'_> {
    attach_barrier(heap.window(), incarnation, parties, &FutexBell)
}

fn next_incarnation(incarnation: Incarnation) -> Incarnation {
    Incarnation::next(incarnation.partition(), incarnation.number()).unwrap()
}

/// Stores `incarnation` and `arrived` in the entry of a partition.
fn write_entry(heap: &Heap, partition: usize, incarnation: u32, arrived: u32) {
    let at = 128 + (partition - 1) * 8;
    heap.window().word(at).store(incarnation, Relaxed);
    heap.window().word(at + 4).store(arrived, Relaxed);
}

#[test]
fn a_barrier_needs_an_entry_for_us_and_for_every_party() {
    let heap = heap(2);
    let attach = |partition, parties| {
        let incarnation = Incarnation::first(partition);
        // SAFETY: none is used.
        unsafe { Barrier::attach(heap.window(), incarnation, parties, &NoDoorbell) }.err()
    };
    assert_eq!(attach(2, 2), None);
    let (partition, entries) = (3, 2);
    let error = BarrierAttachError::NoEntry { partition, entries };
    assert_eq!(attach(3, 2), Some(error));
    for parties in [0, 3] {
        let error = BarrierAttachError::Parties { parties, entries };
        assert_eq!(attach(1, parties), Some(error));
    }
    let short = heap.window().sub(0, 128).unwrap();
    // SAFETY: none is used.
    assert!(unsafe { Barrier::attach(short, FIRST, 1, &NoDoorbell) }.is_err());
}

#[test]
fn a_party_of_one_passes_phase_after_phase() {
    let heap = heap(3);
    let mut alone = barrier(&heap, Incarnation::first(3), 1);
    for phase in 1..=3 {
        let arrival = alone.try_wait(&mut AssumeAlive);
        let leader = true;
        assert_eq!(arrival, Ok(Some(Arrival { phase, leader })));
    }
}

/// Lets `parties` parties pass `phases` phases together; none is ever more than one phase ahead.
fn stress<W: Wait>(parties: u8, phases: u32, wait: impl Fn() -> W + Sync) {
    let heap = heap(parties);
    let progress: Vec<_> = (0..parties).map(|_| AtomicU32::new(0)).collect();
    let leaders = AtomicU32::new(0);
    thread::scope(|scope| {
        for partition in 1..=parties {
            let (heap, progress, leaders, wait) = (&heap, &progress, &leaders, &wait);
            scope.spawn(move || {
                let mut barrier = barrier(heap, Incarnation::first(partition), parties.into());
                for phase in 1..=phases {
                    progress[usize::from(partition) - 1].store(phase, SeqCst);
                    let arrival = barrier.wait(&mut wait(), &mut AssumeAlive).unwrap();
                    assert_eq!(arrival.phase, phase);
                    leaders.fetch_add(arrival.leader.into(), SeqCst);
                    for other in progress {
                        assert!((phase..=phase + 1).contains(&other.load(SeqCst)));
                    }
                }
            });
        }
    });
    assert_eq!(leaders.into_inner(), phases);
}

#[test]
fn parties_that_sleep_pass_phase_after_phase_together() {
    stress(3, 1000, Futex::forever);
    stress(2, 1000, || Futex::forever().spin_first(50));
}

#[test]
fn parties_that_spin_pass_phase_after_phase_together() {
    stress(3, 1000, SpinYield::forever);
}

#[test]
fn a_wait_that_timed_out_continues_with_the_next_call() {
    let heap = heap(2);
    let (mut ours, mut theirs) = (barrier(&heap, FIRST, 2), barrier(&heap, SECOND, 2));
    for _ in 0..2 {
        let late = ours.wait(&mut Futex::until(Instant::now()), &mut AssumeAlive);
        assert_eq!(late, Err(BarrierError::TimedOut));
    }
    assert_eq!(theirs.try_wait(&mut AssumeAlive).unwrap().unwrap().phase, 1);
    // They are a phase ahead, but we pass the first phase first.
    assert_eq!(theirs.try_wait(&mut AssumeAlive), Ok(None));
    for phase in 1..=2 {
        let arrival = ours.wait(&mut Spin::checks(0), &mut AssumeAlive).unwrap();
        assert_eq!(arrival.phase, phase);
    }
}

#[test]
fn a_party_that_dies_before_it_arrives_is_named_and_its_next_incarnation_completes_the_phase() {
    let heap = heap(2);
    let mut ours = barrier(&heap, FIRST, 2);
    let mut theirs = barrier(&heap, SECOND, 2);
    assert_eq!(theirs.try_wait(&mut AssumeAlive), Ok(None));
    assert!(ours.try_wait(&mut AssumeAlive).unwrap().is_some());
    assert!(theirs.try_wait(&mut AssumeAlive).unwrap().is_some());

    let died = ours.wait(&mut Futex::forever(), &mut Dead(&[SECOND]));
    assert_eq!(died, Err(BarrierError::PartyDied(SECOND)));
    // Again, for a caller that does not wait for the restart.
    let died = ours.try_wait(&mut Dead(&[SECOND]));
    assert_eq!(died, Err(BarrierError::PartyDied(SECOND)));

    let mut restarted = barrier(&heap, next_incarnation(SECOND), 2);
    let arrival = restarted.try_wait(&mut Dead(&[SECOND])).unwrap().unwrap();
    assert_eq!(arrival.phase, 2);
    let arrival = ours.wait(&mut Futex::forever(), &mut Dead(&[SECOND]));
    assert_eq!(arrival.unwrap().phase, 2);
}

#[test]
fn a_party_that_dies_after_it_arrived_is_not_missed_until_the_next_phase() {
    let heap = heap(2);
    let mut ours = barrier(&heap, FIRST, 2);
    let mut theirs = barrier(&heap, SECOND, 2);
    assert_eq!(theirs.try_wait(&mut AssumeAlive), Ok(None));
    let arrival = ours.try_wait(&mut Dead(&[SECOND])).unwrap();
    assert_eq!(arrival.unwrap().phase, 1);
    let died = ours.try_wait(&mut Dead(&[SECOND]));
    assert_eq!(died, Err(BarrierError::PartyDied(SECOND)));
}

#[test]
fn a_party_that_arrives_and_dies_during_our_check_has_arrived() {
    let heap = heap(2);
    let mut ours = barrier(&heap, FIRST, 2);
    let mut theirs = barrier(&heap, SECOND, 2);
    assert_eq!(ours.try_wait(&mut AssumeAlive), Ok(None));
    assert!(theirs.try_wait(&mut AssumeAlive).unwrap().is_some());
    assert!(ours.try_wait(&mut AssumeAlive).unwrap().is_some());
    /// The party that it is asked about arrives, and dies.
    struct ArrivesAndDies<'a, 'm>(&'a mut Barrier<'m>);
    impl Liveness for ArrivesAndDies<'_, '_> {
        fn state(&mut self, incarnation: Incarnation) -> PartitionState {
            assert_eq!(incarnation, SECOND);
            self.0.try_wait(&mut AssumeAlive).unwrap();
            PartitionState::Gone
        }
    }
    assert_eq!(ours.try_wait(&mut ArrivesAndDies(&mut theirs)), Ok(None));
    let arrival = ours.try_wait(&mut Dead(&[SECOND])).unwrap();
    assert_eq!(arrival.unwrap().phase, 2);
}

#[test]
fn a_party_that_never_arrived_is_not_reported_as_dead() {
    let heap = heap(2);
    let mut ours = barrier(&heap, FIRST, 2);
    let late = ours.wait(&mut Spin::checks(5), &mut Dead(&[SECOND]));
    assert_eq!(late, Err(BarrierError::TimedOut));
}

#[test]
fn a_new_handle_takes_part_in_the_phase_that_is_not_complete() {
    let heap = heap(3);
    let mut first = barrier(&heap, FIRST, 2);
    assert_eq!(first.try_wait(&mut AssumeAlive), Ok(None));
    // The same entry again: no party is counted twice.
    let mut first = barrier(&heap, next_incarnation(FIRST), 2);
    assert_eq!(first.try_wait(&mut AssumeAlive), Ok(None));
    let mut third = barrier(&heap, Incarnation::first(3), 2);
    assert_eq!(third.try_wait(&mut AssumeAlive).unwrap().unwrap().phase, 1);
    // Phase 1 is complete, so the next is 2.
    let mut third = barrier(&heap, next_incarnation(Incarnation::first(3)), 2);
    assert_eq!(third.try_wait(&mut AssumeAlive), Ok(None));
    for phase in 1..=2 {
        let arrival = first.try_wait(&mut AssumeAlive).unwrap().unwrap();
        assert_eq!((arrival.phase, arrival.leader), (phase, true));
    }
    assert_eq!(third.try_wait(&mut AssumeAlive).unwrap().unwrap().phase, 2);
}

#[test]
fn phases_continue_after_the_last_number() {
    let heap = heap(2);
    write_entry(&heap, 1, FIRST.word(), u32::MAX - 1);
    write_entry(&heap, 2, SECOND.word(), u32::MAX - 1);
    let (mut ours, mut theirs) = (barrier(&heap, FIRST, 2), barrier(&heap, SECOND, 2));
    for phase in [u32::MAX, 1, 2] {
        // The missing party is known on both sides of the wrap.
        let died = ours.try_wait(&mut Dead(&[SECOND]));
        assert_eq!(died, Err(BarrierError::PartyDied(SECOND)));
        assert_eq!(
            theirs.try_wait(&mut AssumeAlive).unwrap().unwrap().phase,
            phase
        );
        assert_eq!(
            ours.try_wait(&mut AssumeAlive).unwrap().unwrap().phase,
            phase
        );
    }
    // A new handle does not mistake the newest phase for the oldest.
    write_entry(&heap, 1, FIRST.word(), u32::MAX);
    write_entry(&heap, 2, SECOND.word(), 1);
    let mut restarted = barrier(&heap, next_incarnation(FIRST), 2);
    let arrival = restarted.try_wait(&mut AssumeAlive).unwrap().unwrap();
    assert_eq!(arrival.phase, 1);
}

#[test]
fn a_phase_that_no_party_can_have_reached_is_corrupt() {
    let heap = heap(3);
    let mut ours = barrier(&heap, FIRST, 3);
    assert_eq!(ours.try_wait(&mut AssumeAlive), Ok(None));
    write_entry(&heap, 2, SECOND.word(), 3);
    let corrupt = Corrupt {
        word: ControlWord::BarrierArrived,
        value: 3,
    };
    let refused = ours.wait(&mut Futex::forever(), &mut AssumeAlive);
    assert_eq!(refused, Err(BarrierError::Corrupt(corrupt)));
}

#[test]
fn a_party_that_all_others_have_passed_is_evicted() {
    let heap = heap(3);
    let mut ours = barrier(&heap, FIRST, 3);
    assert_eq!(ours.try_wait(&mut AssumeAlive), Ok(None));
    for partition in [2, 3] {
        write_entry(
            &heap,
            partition,
            Incarnation::first(partition as u8).word(),
            3,
        );
    }
    let refused = ours.wait(&mut Futex::forever(), &mut AssumeAlive);
    assert_eq!(refused, Err(BarrierError::Evicted));
}

#[test]
fn an_entry_with_a_wrong_incarnation_is_corrupt() {
    for value in [0, 7, FIRST.word()] {
        let heap = heap(2);
        write_entry(&heap, 1, FIRST.word(), 1);
        write_entry(&heap, 2, value, 1);
        let mut ours = barrier(&heap, FIRST, 2);
        let corrupt = Corrupt {
            word: ControlWord::BarrierIncarnation,
            value,
        };
        let refused = ours.try_wait(&mut AssumeAlive);
        assert_eq!(refused, Err(BarrierError::Corrupt(corrupt)));
    }
}

#[test]
fn every_call_ends_whatever_the_words_contain() {
    let mut seed = 1_u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let words = [0, 1, 2, u32::MAX, FIRST.word(), SECOND.word(), seed];
        words[seed as usize / 256 % words.len()]
    };
    for _ in 0..500 {
        let heap = heap(5);
        for at in (0..heap.window().len()).step_by(4) {
            heap.window().word(at).store(noise(), Relaxed);
        }
        let mut barrier = barrier(&heap, FIRST, 3);
        let _ = barrier.try_wait(&mut Dead(&[SECOND]));
        let _ = barrier.wait(&mut Spin::checks(2), &mut AssumeAlive);
    }
}

#[test]
fn a_party_that_dies_at_any_store_is_replaced_by_its_next_incarnation() {
    let attempt = |at| {
        let heap = heap(2);
        let mut ours = barrier(&heap, FIRST, 2);
        let mut theirs = barrier(&heap, SECOND, 2);
        assert_eq!(theirs.try_wait(&mut AssumeAlive), Ok(None));
        assert!(ours.try_wait(&mut AssumeAlive).unwrap().is_some());
        assert!(theirs.try_wait(&mut AssumeAlive).unwrap().is_some());
        assert_eq!(ours.try_wait(&mut AssumeAlive), Ok(None));
        let ended = crash::run(at, || {
            theirs
                .wait(&mut Futex::forever(), &mut AssumeAlive)
                .unwrap();
        });
        let mut restarted = barrier(&heap, next_incarnation(SECOND), 2);
        match ours.try_wait(&mut Dead(&[SECOND])) {
            // It had arrived, so its next incarnation is at the phase after it.
            Ok(arrival) => assert_eq!(arrival.unwrap().phase, 2),
            Err(error) => {
                assert_eq!(error, BarrierError::PartyDied(SECOND));
                assert!(restarted.try_wait(&mut AssumeAlive).unwrap().is_some());
                assert!(ours.try_wait(&mut AssumeAlive).unwrap().is_some());
            }
        }
        assert_eq!(ours.try_wait(&mut AssumeAlive), Ok(None));
        assert_eq!(
            restarted.try_wait(&mut AssumeAlive).unwrap().unwrap().phase,
            3
        );
        assert_eq!(ours.try_wait(&mut AssumeAlive).unwrap().unwrap().phase, 3);
        ended
    };
    let Ended::Finished { stores } = attempt(None) else {
        panic!("it died without a requested death");
    };
    assert!(stores > 1);
    for store in 0..stores {
        assert_eq!(attempt(Some(store)), Ended::Died);
    }
}
