//! Rounds under every lock, and records of every ring, are counted exactly.

use kmon_qemu::Transport;
use serde_json::Value;

use crate::rig::{Arena, Ended, Guest, Job};

/// One of this many rounds under the reader-writer lock writes.
const WRITES: u64 = 4;

fn all_succeed<const N: usize>(jobs: [Job; N]) -> [Ended; N] {
    jobs.map(|job| {
        let ended = job.succeed();
        assert!(!ended.says("repaired"), "{ended:?}");
        ended
    })
}

/// Lets all three work at the same time. Returns their rounds, from party 1 on.
fn contend(arena: &Arena, guests: [&Guest; 2], words: &str) -> [u64; 3] {
    let words = format!("work {words}");
    let [second, third] = guests.map(|guest| guest.start(&words));
    let host = arena.host(&format!("{words} --as 1"));
    all_succeed([host, second, third]).map(|ended| {
        let done = ended.event("done");
        assert!(done["polls"] != 0, "never waited: {ended:?}");
        done["rounds"].as_u64().unwrap()
    })
}

fn counted(shown: &Value, lock: &str, rounds: [u64; 3]) {
    let counters = &shown[lock];
    assert_eq!(counters["total"], rounds.iter().sum::<u64>(), "{shown}");
    for (party, rounds) in rounds.into_iter().enumerate() {
        assert_eq!(counters["by"][party], rounds, "{lock}: {shown}");
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
    let work = |words: &str| contend(&arena, [&pci, &reserved], words);
    let mutex = work("mutex --for 3s --start-together --spin");
    let rwlock = work("rwlock --for 3s --start-together --spin");
    let bakery = work("bakery --for 3s --start-together --spin");
    work("semaphore --for 3s --start-together --spin");
    work("barrier --rounds 300");
    let shown = arena.shown();
    counted(&shown, "mutex", mutex);
    counted(&shown, "bakery", bakery);
    counted(&shown, "rwlock", rwlock.map(|all| all.div_ceil(WRITES)));
    assert_eq!(shown["semaphore"]["available"], 2, "{shown}");

    for (number, guest) in [(2, &pci), (3, &reserved)] {
        let sends = guest.start("send --to 1 --records 5000");
        let words = format!("receive --from {number} --records 5000 --as 1");
        all_succeed([arena.host(&words), sends]);
        let receives = guest.start("receive --from 1 --records 5000");
        let words = format!("send --to {number} --records 5000 --as 1");
        all_succeed([arena.host(&words), receives]);
    }
}
