//! Models of the barrier: nobody passes early, nobody sleeps for ever.
//!
//! What the parties do between two phases is loom's plain cells, so one that
//! passes too early, or does not see what another did, is a reported race.
#![cfg(loom)]

use loom::thread;
use shmem_core::doorbell::Silent;
use shmem_core::wait::Wait;
use shmem_core::{Incarnation, Window};
use shmem_sync::{AssumeAlive, Barrier, BarrierError};

mod support;
use support::{attach_barrier, heap, yields, Dead, Kernel, Yield};

fn memory(parties: u8) -> Window<'static> {
    heap(Barrier::segment_len(parties))
}

fn meet(barrier: &mut Barrier<'_>, wait: &mut impl Wait) {
    barrier.wait(wait, &mut AssumeAlive).unwrap();
}

fn put(cells: Window<'_>, at: usize, value: u8) {
    cells.write(at * 8, &[value; 8]);
}

fn get(cells: Window<'_>, at: usize) -> u8 {
    let mut value = [0; 8];
    cells.read(at * 8, &mut value);
    value[0]
}

#[test] // Kills: Release in `arrive`, Acquire in `arrived`.
fn what_was_done_before_a_phase_is_seen_after_it_and_not_touched_before() {
    loom::model(|| {
        let (memory, cells) = (memory(2), heap(16));
        let party = move |own: usize| {
            let mut barrier = attach_barrier(memory, Incarnation::first(own as u8 + 1), 2, &Silent);
            put(cells, own, 1);
            meet(&mut barrier, &mut Yield);
            assert_eq!(get(cells, 1 - own), 1);
            meet(&mut barrier, &mut Yield);
            put(cells, own, 2);
        };
        let peer = thread::spawn(move || party(1));
        party(0);
        peer.join().unwrap();
    });
}

/// So many parties meet at so many phases, and sleep as long as it takes.
fn all_meet(parties: u8, phases: u32) {
    let mut model = loom::model::Builder::new();
    // With more, three parties take minutes.
    model.preemption_bound = Some(2);
    model.check(move || {
        let (memory, kernel) = (memory(parties), Kernel::new());
        let party = move |number, kernel: Kernel| {
            let incarnation = Incarnation::first(number);
            let mut barrier = attach_barrier(memory, incarnation, parties.into(), &kernel);
            for _ in 0..phases {
                meet(&mut barrier, &mut kernel.clone());
            }
        };
        let threads: Vec<_> = (2..=parties)
            .map(|number| {
                let kernel = kernel.clone();
                thread::spawn(move || party(number, kernel))
            })
            .collect();
        party(1, kernel);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test] // Kills: either fence(SeqCst).
fn a_sleeper_is_woken_by_the_arrival_it_missed() {
    all_meet(2, 1);
}

#[test]
fn a_sleeper_is_woken_phase_after_phase() {
    all_meet(2, 2);
}

#[test]
fn two_sleepers_are_woken_by_the_last_to_arrive() {
    all_meet(3, 1);
}

#[test]
fn a_new_incarnation_arrives_in_the_stead_of_a_dead_one() {
    loom::model(|| {
        let memory = memory(2);
        let next = Incarnation::new(2, 2).unwrap();
        let dead = Incarnation::first(2);
        let peer = thread::spawn(move || {
            for incarnation in [dead, next] {
                meet(
                    &mut attach_barrier(memory, incarnation, 2, &Silent),
                    &mut Yield,
                );
            }
        });
        let mut barrier = attach_barrier(memory, Incarnation::first(1), 2, &Silent);
        meet(&mut barrier, &mut Yield);
        yields(|| match barrier.try_wait(&mut Dead(&[dead])) {
            Ok(arrival) => arrival.is_some(),
            Err(error) => {
                assert_eq!(error, BarrierError::PartyDied(dead));
                false
            }
        });
        peer.join().unwrap();
    });
}
