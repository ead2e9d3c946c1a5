//! Every lock, and every ring, counts exactly.

use kmon_qemu::Transport;

use crate::rig::{Arena, Ended, Job};

/// Rounds of each party.
const ROUNDS: u64 = 3000;
/// One round in four writes.
const WRITES: u64 = ROUNDS / 4;

fn all_succeed(jobs: impl IntoIterator<Item = Job>) {
    let jobs: Vec<_> = jobs.into_iter().collect();
    for job in jobs {
        let ended: Ended = job.succeed();
        assert!(!ended.says("mended") && !ended.says("gone"), "{ended:?}");
    }
}

#[test]
fn three_kernels_count_exactly_under_every_lock_and_over_every_ring() {
    let arena = Arena::new();
    let pci = arena.guest(2, Transport::Ivshmem, &[]);
    let reserved = arena.guest(3, Transport::Reserved, &[]);
    for (number, guest) in [(2, &pci), (3, &reserved)] {
        let answers = arena.host(&format!("answer {number}"));
        let tried = guest.start("work mutex --rounds 0 --try-memory");
        assert_eq!(tried.succeed().event("tried")["fences"], "works");
        answers.succeed();
    }
    for (lock, rounds) in [
        ("mutex", ROUNDS),
        ("semaphore", ROUNDS),
        ("rwlock", ROUNDS),
        ("bakery", ROUNDS / 3),
        ("barrier", ROUNDS / 10),
    ] {
        let words = format!("work {lock} --rounds {rounds}");
        let guests = [&pci, &reserved].map(|guest| guest.start(&words));
        let host = arena.host(&format!("{words} --as 1"));
        all_succeed(guests.into_iter().chain([host]));
    }
    let shown = arena.shown();
    for (lock, each) in [
        ("mutex", ROUNDS),
        ("rwlock", WRITES),
        ("bakery", ROUNDS / 3),
    ] {
        let counters = &shown[lock];
        assert_eq!(counters["total"], 3 * each, "{lock}: {shown}");
        for party in 0..3 {
            assert_eq!(counters["by"][party], each, "{lock}: {shown}");
        }
    }
    assert_eq!(shown["semaphore"]["available"], 2, "{shown}");

    for (number, guest) in [(2, &pci), (3, &reserved)] {
        let sends = guest.start("send --to 1 --records 5000");
        all_succeed([
            arena.host(&format!("receive --from {number} --records 5000 --as 1")),
            sends,
        ]);
        let receives = guest.start("receive --from 1 --records 5000");
        all_succeed([
            arena.host(&format!("send --to {number} --records 5000 --as 1")),
            receives,
        ]);
    }
}
