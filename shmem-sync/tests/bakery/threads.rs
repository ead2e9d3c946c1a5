//! Many partitions at once.

use std::mem::forget;
use std::sync::atomic::AtomicU32 as Number;
use std::thread;

use shmem_core::primitive::Ordering::{Acquire, Relaxed, Release};
use shmem_core::wait::Spin;
use shmem_core::{Incarnation, Mapping, Window};
use shmem_sync::{
    AssumeAlive, BakeryMutex, Guard, Liveness, LockError, LockFailure, PartitionState, SpinYield,
};

use crate::support::attach_bakery;
use crate::{ticket_at, DRAWING};

/// Adds one in two steps, so that two at once lose one.
fn add_one(guard: &mut Guard<'_, '_, u64>) {
    guard.update(|sum| *sum += 1);
}

fn sum(segment: Window<'_>) -> u64 {
    let mut sum = [0; 8];
    segment.read(segment.len() - 8, &mut sum);
    u64::from_le_bytes(sum)
}

/// Returns the largest number of a ticket that exists now.
fn largest(segment: Window<'_>, partitions: u8) -> u32 {
    let number = |partition| segment.word(ticket_at(partition)).load(Relaxed) >> 2;
    (1..=partitions).map(number).max().unwrap_or(0)
}

#[test]
fn owners_exclude_each_other_and_their_tickets_stay_small() {
    for partitions in [2, 3, 8] {
        let rounds = 4_000 / u32::from(partitions);
        let memory = Mapping::memfd("bakery", BakeryMutex::<u64>::SEGMENT_LEN).unwrap();
        let window = memory.window();
        thread::scope(|scope| {
            for partition in 1..=partitions {
                let incarnation = Incarnation::first(partition);
                scope.spawn(move || {
                    let mut mutex = attach_bakery::<u64>(window, incarnation, partitions);
                    for _ in 0..rounds {
                        let mut guard = mutex
                            .lock(&mut SpinYield::forever(), &mut AssumeAlive)
                            .unwrap();
                        add_one(&mut guard);
                        let largest = largest(window, partitions);
                        assert!(largest <= partitions.into(), "number {largest}");
                        guard.unlock().unwrap();
                    }
                });
            }
        });
        assert_eq!(sum(window), u64::from(rounds) * u64::from(partitions));
    }
}

#[test]
fn owners_exclude_each_other_while_some_give_up() {
    const ROUNDS: u32 = 3_000;
    let memory = Mapping::memfd("bakery", BakeryMutex::<u64>::SEGMENT_LEN).unwrap();
    let window = memory.window();
    let pass = |partition: u8| {
        let mut mutex = attach_bakery::<u64>(window, Incarnation::first(partition * 16), 64);
        let mut passed = 0;
        for round in 0..ROUNDS {
            let taken = match round % 3 {
                0 => mutex.try_lock(&mut AssumeAlive),
                1 => mutex.lock(&mut Spin::checks(round % 7), &mut AssumeAlive),
                _ => mutex.lock(&mut SpinYield::forever(), &mut AssumeAlive),
            };
            match taken {
                Ok(mut guard) => add_one(&mut guard),
                Err(
                    LockError::Failed(LockFailure::Busy) | LockError::Failed(LockFailure::TimedOut),
                ) => continue,
                Err(error) => panic!("{error}"),
            }
            passed += 1;
        }
        passed
    };
    let passed: u64 = thread::scope(|scope| {
        let threads = [1, 2, 3, 4].map(|partition| scope.spawn(move || pass(partition)));
        threads.map(|thread| thread.join().unwrap()).iter().sum()
    });
    assert_eq!(sum(window), passed);
}

/// The current incarnation of each partition: an earlier one is gone.
struct Incarnations([Number; 3]);

impl Incarnations {
    fn end(&self, incarnation: Incarnation) -> Incarnation {
        let next = Incarnation::next(incarnation.partition(), incarnation.number()).unwrap();
        // Release: pairs with the Acquire below; the work of the dead incarnation is seen.
        self.0[usize::from(incarnation.partition()) - 1].store(next.number(), Release);
        next
    }
}

impl Liveness for &Incarnations {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        let now = self.0[usize::from(incarnation.partition()) - 1].load(Acquire);
        PartitionState::from_is_gone(incarnation.number() < now)
    }
}

/// Attaches and locks once, and dies on the way or not, depending on `round`. Returns whether it
/// was inside, and whether it was warned.
fn run_incarnation(
    window: Window<'_>,
    incarnation: Incarnation,
    round: u32,
    mut incarnations: &Incarnations,
) -> (bool, bool) {
    let mut mutex = attach_bakery::<u64>(window, incarnation, 3);
    let ticket = window.word(ticket_at(incarnation.partition()));
    if round % 5 == 1 {
        ticket.store(DRAWING, Release);
        return (false, false);
    }
    let (mut guard, warned) = match mutex.lock(&mut SpinYield::forever(), &mut incarnations) {
        Ok(guard) => (guard, false),
        Err(LockError::OwnerDied(mut guard)) => {
            guard.make_consistent();
            (guard, true)
        }
        Err(error) => panic!("{error}"),
    };
    add_one(&mut guard);
    if round % 5 == 2 {
        forget(guard);
    }
    (true, warned)
}

#[test]
fn incarnations_exclude_each_other_and_every_death_inside_is_reported_once() {
    const ROUNDS: u32 = 2_000;
    let memory = Mapping::memfd("bakery", BakeryMutex::<u64>::SEGMENT_LEN).unwrap();
    let window = memory.window();
    let incarnations = Incarnations([1, 1, 1].map(Number::new));
    let run = |partition: u8| {
        let mut incarnation = Incarnation::first(partition);
        let (mut inside, mut warned) = (0, 0);
        for round in 0..ROUNDS {
            let result = run_incarnation(window, incarnation, round, &incarnations);
            inside += u64::from(result.0);
            warned += u32::from(result.1);
            incarnation = incarnations.end(incarnation);
        }
        (inside, warned)
    };
    let results = thread::scope(|scope| {
        let run = &run;
        let threads = [1, 2, 3].map(|partition| scope.spawn(move || run(partition)));
        threads.map(|thread| thread.join().unwrap())
    });
    let inside: u64 = results.iter().map(|result| result.0).sum();
    let warned: u32 = results.iter().map(|result| result.1).sum();
    assert_eq!(sum(window), inside);
    // The last one to enter does not die inside.
    assert_eq!(warned, 3 * ROUNDS / 5);
}
