//! What a killed or reset guest held comes back, after its end is certain.

use std::thread::sleep;
use std::time::Duration;

use kmon_qemu::Transport;

use crate::rig::{Arena, Guest, Job};

/// The locks that the guest holds, and for which the others wait.
const LOCKS: [&str; 3] = ["mutex", "rwlock", "bakery"];

/// Guest 2 has ended while it held all locks and one of the semaphore's two permits. The host
/// holds the other permit; `declare_end` makes the guest's end certain. Then all comes back.
fn comes_back(arena: &Arena, other: &Guest, declare_end: impl FnOnce()) {
    let mut holds = arena.host("hold semaphore --as 1");
    holds.see("held");
    other
        .start("work semaphore --rounds 1 --timeout 2s")
        .fail(4);
    let mut waits = other.start("work mutex --rounds 10");
    waits.see("silent");
    sleep(Duration::from_millis(500));
    assert!(!waits.has_reported("gone") && !waits.has_reported("done"));
    declare_end();
    let waits = waits.succeed();
    assert!(waits.says("gone") && waits.says("repaired"), "{waits:?}");
    for lock in LOCKS {
        other.start(&format!("work {lock} --rounds 10")).succeed();
    }
    let permit = other.start("work semaphore --rounds 10").succeed();
    assert!(permit.says("gone"), "{permit:?}");
    arena.run("release 1");
    holds.succeed();
    assert_eq!(arena.shown()["semaphore"]["available"], 2);
}

/// Guest 2 is paused, then gone, while three parties use the barrier. The others report that it
/// is silent and wait on, then that it died. One of them may leave first.
fn ends_at_a_barrier(arena: &Arena, killed: &Guest, other: &Guest) {
    let words = "work barrier --rounds 1000000";
    let host = format!("{words} --as 1");
    let mut jobs = [killed.start(words), other.start(words), arena.host(&host)];
    jobs.iter_mut().for_each(|job| drop(job.see("attached")));
    sleep(Duration::from_millis(300));
    jobs.iter_mut()
        .for_each(|job| assert!(!job.has_reported("failed")));
    killed.machine.pause().unwrap();
    let [_paused, mut others @ ..] = jobs;
    for job in &mut others {
        assert_eq!(job.see("silent")["partition"], 2);
    }
    sleep(Duration::from_millis(500));
    others
        .iter_mut()
        .for_each(|job| assert!(!job.has_reported("failed")));
    arena.run("gone 2");
    let ended = others.map(Job::end);
    let died = |party: u8| format!("of partition {party} died");
    let why = ended
        .each_ref()
        .map(|ended| ended.event("failed")["error"].as_str().unwrap());
    assert!(why.iter().any(|why| why.contains(&died(2))), "{ended:?}");
    for why in why {
        assert!(why.contains("died before it arrived"), "{ended:?}");
    }
    killed.reset();
}

#[test]
fn what_a_killed_guest_held_comes_back_when_the_host_declares_it_gone() {
    let arena = Arena::new();
    let killed = arena.guest(2, Transport::Ivshmem, &[]);
    let other = arena.guest(3, Transport::Reserved, &[]);

    // It ends while it sends, and its next incarnation goes on: the host misses no record.
    let mut sends = killed.start("send --to 1 --records 1000000");
    sends.see("attached");
    arena.run("receive --from 2 --records 500 --as 1");
    drop(sends);
    killed.reset();
    let sends = killed.start("send --to 1 --records 1000000 --timeout 2s --restart");
    // First the records that the earlier incarnation left, which are fewer than these.
    let receives = arena.host("receive --from 2 --records 4000 --as 1");
    assert!(receives.succeed().says("restarted"));
    let late = sends.fail(4);
    assert!(late.contains("stays full"), "{late}");

    ends_at_a_barrier(&arena, &killed, &other);

    let mut holds = killed.start("hold mutex semaphore write bakery");
    holds.see("held");
    killed.machine.kill();
    comes_back(&arena, &other, || {
        arena.run("gone 2");
    });
    let shown = arena.shown();
    for lock in LOCKS {
        // Its half round was completed by the next owner.
        assert_eq!(shown[lock]["by"][1], 1, "{shown}");
        let by: u64 = (0..8)
            .map(|party| shown[lock]["by"][party].as_u64().unwrap())
            .sum();
        assert_eq!(shown[lock]["total"], by, "{shown}");
    }
}

#[test]
fn what_a_reset_guest_held_comes_back_when_its_next_boot_attaches() {
    let arena = Arena::new();
    let reset = arena.guest(2, Transport::Reserved, &[]);
    let other = arena.guest(3, Transport::Ivshmem, &[]);
    let mut holds = reset.start("hold mutex semaphore read bakery");
    holds.see("held");
    drop(holds);
    reset.reset();
    comes_back(&arena, &other, || {
        let next = reset.start("send --to 1 --records 1 --restart");
        let next = next.succeed();
        assert_eq!(next.event("attached")["incarnation"], 2, "{next:?}");
    });

    // It is reset while it receives: the next incarnation goes on at the same record.
    let sends = arena.host("send --to 2 --records 4000 --as 1");
    let mut receives = reset.start("receive --from 1 --records 1000000");
    receives.see("attached");
    sleep(Duration::from_millis(50));
    reset.reset();
    drop(receives);
    let words = "receive --from 1 --records 1000000 --timeout 2s --restart";
    let receives = reset.start(words);
    sends.succeed();
    let late = receives.fail(4);
    assert!(late.contains("stays empty"), "{late}");
}
