//! Models of the barrier: no party passes early, and none sleeps permanently.
//!
//! The parties use loom's plain cells between two phases. Loom reports a race if a party passes too
//! early, or does not see the work of another.
#![cfg(loom)]

use loom::thread;
use shmem_core::doorbell::NoDoorbell;
use shmem_core::wait::Wait;
use shmem_core::{Incarnation, Window};
use shmem_sync::{AssumeAlive, Barrier, BarrierError};

mod support;
use support::{attach_barrier, heap, yield_until, Dead, FutexModel, Yield};

fn memory(parties: u8) -> Window<'static> {
    heap(Barrier::segment_len(parties))
}

fn pass(barrier: &mut Barrier<'_>, wait: &mut impl Wait) {
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
fn work_before_a_phase_is_seen_after_it_and_not_earlier() {
    loom::model(|| {
        let (memory, cells) = (memory(2), heap(16));
        let party = move |own: usize| {
            let mut barrier =
                attach_barrier(memory, Incarnation::first(own as u8 + 1), 2, &NoDoorbell);
            put(cells, own, 1);
            pass(&mut barrier, &mut Yield);
            assert_eq!(get(cells, 1 - own), 1);
            pass(&mut barrier, &mut Yield);
            put(cells, own, 2);
        };
        let peer = thread::spawn(move || party(1));
        party(0);
        peer.join().unwrap();
    });
}

/// This number of parties passes this number of phases together, and sleeps until it can.
fn all_pass(parties: u8, phases: u32) {
    let mut model = loom::model::Builder::new();
    // With more, three parties take minutes.
    model.preemption_bound = Some(2);
    model.check(move || {
        let (memory, kernel) = (memory(parties), FutexModel::new());
        let party = move |number, kernel: FutexModel| {
            let incarnation = Incarnation::first(number);
            let mut barrier = attach_barrier(memory, incarnation, parties.into(), &kernel);
            for _ in 0..phases {
                pass(&mut barrier, &mut kernel.clone());
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
    all_pass(2, 1);
}

#[test]
fn a_sleeper_is_woken_phase_after_phase() {
    all_pass(2, 2);
}

#[test]
fn two_sleepers_are_woken_by_the_last_to_arrive() {
    all_pass(3, 1);
}

#[test]
fn a_new_incarnation_arrives_in_place_of_a_dead_one() {
    loom::model(|| {
        let memory = memory(2);
        let next = Incarnation::new(2, 2).unwrap();
        let dead = Incarnation::first(2);
        let peer = thread::spawn(move || {
            for incarnation in [dead, next] {
                pass(
                    &mut attach_barrier(memory, incarnation, 2, &NoDoorbell),
                    &mut Yield,
                );
            }
        });
        let mut barrier = attach_barrier(memory, Incarnation::first(1), 2, &NoDoorbell);
        pass(&mut barrier, &mut Yield);
        yield_until(|| match barrier.try_wait(&mut Dead(&[dead])) {
            Ok(arrival) => arrival.is_some(),
            Err(error) => {
                assert_eq!(error, BarrierError::PartyDied(dead));
                false
            }
        });
        peer.join().unwrap();
    });
}
