//! A paused guest loses nothing until its end is certain. Then it gets an error.

use std::thread::sleep;
use std::time::Duration;

use kmon_qemu::Transport;
use serde_json::Value;

use crate::rig::{Arena, Guest};

/// All that one party can hold at the same time.
const ALL: &str = "mutex semaphore write bakery";
/// The locks, as `work` names them.
const LOCKS: [&str; 3] = ["mutex", "rwlock", "bakery"];
/// Time in milliseconds after which a silent party is reported, by default.
const LIMIT: u64 = 500;
/// The longest such time on a busy machine: a party that waits this long reports it.
const NOTICED: u64 = 2500;

/// The host, party 1, and guest 3 wait for what guest 2 holds, and time out with a report.
fn waits_time_out(arena: &Arena, other: &Guest) {
    for lock in LOCKS {
        let words = format!("work {lock} --rounds 1 --timeout {NOTICED}ms");
        for job in [arena.host(&format!("{words} --as 1")), other.start(&words)] {
            let ended = job.end();
            assert_eq!(ended.status, 4, "{ended:?}");
            // The guest's job may see that the host's has ended.
            let gone = ended.reports_of(2, "gone");
            assert!(!gone && !ended.says("repaired"), "{ended:?}");
            let silent = ended.event("silent");
            assert_eq!(silent["partition"], 2, "{ended:?}");
            let after = silent["after_millis"].as_u64().unwrap();
            assert!((LIMIT..NOTICED).contains(&after), "{ended:?}");
        }
    }
}

#[test]
fn a_paused_guest_is_silent_and_keeps_what_it_holds_until_it_is_evicted() {
    let arena = Arena::new();
    let paused = arena.guest(2, Transport::Ivshmem, &[]);
    let other = arena.guest(3, Transport::Reserved, &[]);
    let mut holds = paused.start(&format!("hold {ALL}"));
    holds.see("held");

    // Paused for less than the limit: no report, since its heartbeat moves again before.
    let mut waits = arena.host("work mutex --rounds 1 --silent-after 3s --as 1");
    waits.see("attached");
    paused.machine.pause().unwrap();
    sleep(Duration::from_millis(300));
    paused.machine.resume().unwrap();
    sleep(Duration::from_millis(3500));
    assert!(!waits.has_reported("silent") && !waits.has_reported("done"));
    drop(waits);
    arena.run("gone 1");

    // Paused for longer: it is reported, and loses nothing.
    paused.machine.pause().unwrap();
    waits_time_out(&arena, &other);
    let one = other.start("work semaphore --rounds 10");
    one.succeed();
    paused.machine.resume().unwrap();
    sleep(Duration::from_millis(50));
    arena.run("release 2");
    holds.succeed();
    for lock in LOCKS {
        let ended = arena.run(&format!("work {lock} --rounds 1 --as 1"));
        assert!(!ended.says("repaired"), "{ended:?}");
    }
    let shown = arena.shown();
    for lock in LOCKS {
        assert_eq!(shown[lock]["by"][1], 1, "{shown}");
    }
    assert_eq!(shown["semaphore"]["available"], 2, "{shown}");

    evicted_while_paused(&arena, &paused, &other);
    paused_while_it_waits(&arena, &paused);
    its_end_of_a_ring_is_taken_over(&arena, &paused);
}

/// The operator is wrong, and the guest goes on. It gets an error, and stores nothing more.
fn evicted_while_paused(arena: &Arena, paused: &Guest, other: &Guest) {
    let before = arena.shown();
    let mut holds = paused.start(&format!("hold {ALL}"));
    holds.see("held");
    paused.machine.pause().unwrap();
    let mut waits = other.start("work mutex --rounds 10");
    waits.see("silent");
    arena.run("gone 2");
    assert!(waits.succeed().says("repaired"));
    for lock in ["rwlock", "bakery"] {
        let ended = arena.run(&format!("work {lock} --rounds 10 --as 1"));
        assert!(ended.says("gone") && ended.says("repaired"), "{ended:?}");
    }
    // Both permits, of which the paused guest had one.
    let mut first = arena.host("hold semaphore --as 1");
    first.see("held");
    let mut second = other.start("hold semaphore");
    second.see("held");
    paused.machine.resume().unwrap();
    let error = holds.fail(5);
    assert!(error.contains("evicted"), "{error}");
    arena.run("release 1");
    arena.run("release 3");
    first.succeed();
    second.succeed();
    let after = arena.shown();
    for lock in LOCKS {
        // The round that it had begun was completed by the next owner, and it has not stored the
        // other half since. One round in four writes.
        let rounds = if lock == "rwlock" { 3 } else { 10 };
        let count = |shown: &Value| shown[lock]["by"][1].as_u64().unwrap();
        assert_eq!(count(&after), count(&before) + 1, "{lock}: {after}");
        let total = |shown: &Value| shown[lock]["total"].as_u64().unwrap();
        assert_eq!(
            total(&after),
            total(&before) + 1 + rounds,
            "{lock}: {after}"
        );
        // Its next incarnation can use the lock as before.
        paused.start(&format!("work {lock} --rounds 10")).succeed();
    }
    assert_eq!(after["semaphore"]["available"], 2, "{after}");

    // No party has acquired the lock when it goes on: it does not release an incomplete round.
    let mut holds = paused.start("hold mutex");
    holds.see("held");
    paused.machine.pause().unwrap();
    arena.run("gone 2");
    paused.machine.resume().unwrap();
    holds.fail(5);
    assert!(arena.run("work mutex --rounds 1 --as 1").says("repaired"));

    // Presumed gone by silence alone, on request; a semaphore protects no data.
    let mut holds = paused.start("hold semaphore");
    holds.see("held");
    let mut first = arena.host("hold semaphore --as 1");
    first.see("held");
    paused.machine.pause().unwrap();
    let words = "work semaphore --rounds 1 --timeout 2s";
    other.start(words).fail(4);
    let words = "work semaphore --rounds 1 --presume-gone-after 1s";
    assert!(other.start(words).succeed().says("gone"));
    paused.machine.resume().unwrap();
    arena.run("release 2");
    holds.fail(5);
    arena.run("release 1");
    first.succeed();
    assert_eq!(arena.shown()["semaphore"]["available"], 2);
}

/// A party that is paused while it waits delays no other, except in a bakery mutex.
fn paused_while_it_waits(arena: &Arena, paused: &Guest) {
    for lock in LOCKS {
        let held = if lock == "rwlock" { "write" } else { lock };
        let mut holds = arena.host(&format!("hold {held} --as 1"));
        holds.see("held");
        let mut waits = paused.start(&format!("work {lock} --rounds 1"));
        waits.see("attached");
        sleep(Duration::from_millis(200));
        assert!(!waits.has_reported("done"));
        paused.machine.pause().unwrap();
        arena.run("release 1");
        holds.succeed();
        let passes = arena.host(&format!("work {lock} --rounds 100 --timeout 2500ms --as 1"));
        let ended = passes.end();
        if lock == "bakery" {
            // It has drawn its ticket, and is next.
            assert!(ended.status == 4 && ended.says("silent"), "{ended:?}");
        } else {
            assert_eq!(ended.status, 0, "{ended:?}");
        }
        paused.machine.resume().unwrap();
        waits.succeed();
        arena.run(&format!("work {lock} --rounds 1 --as 1"));
    }
}

/// A later incarnation takes over its end of a ring while it is paused. It gets an error, and the
/// other end misses no record.
fn its_end_of_a_ring_is_taken_over(arena: &Arena, paused: &Guest) {
    let mut sends = paused.start("send --to 1 --records 1000000");
    sends.see("attached");
    arena.run("receive --from 2 --records 500 --as 1");
    paused.machine.pause().unwrap();
    let mut sends_on = arena.host("send --to 1 --records 1000000 --timeout 4s --restart --as 2");
    sends_on.see("attached");
    paused.machine.resume().unwrap();
    let error = sends.fail(5);
    assert!(error.contains("evicted"), "{error}");
    // More records than the evicted incarnation left.
    let receives = arena.run("receive --from 2 --records 4000 --as 1");
    assert!(receives.says("restarted"), "{receives:?}");
    let late = sends_on.fail(4);
    assert!(late.contains("stays full"), "{late}");
}
