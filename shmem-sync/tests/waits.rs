//! What the waits promise: woken when rung, back at the deadline.
#![cfg(all(feature = "linux", target_os = "linux"))]

use std::thread;
use std::time::{Duration, Instant};

use shmem_core::mem::Heap;
use shmem_core::ring::{Ring, Unread};
use shmem_core::wait::{Spin, Wait, RECHECK};
use shmem_core::Life;
use shmem_sync::{Futex, FutexBell, SleepPoll, SpinYield};

const TIMEOUT: Duration = Duration::from_millis(60);

fn consumer_wait(wait: &mut impl Wait, rung: bool) -> (bool, Duration) {
    let heap = Heap::new(Ring::segment_len(4096));
    let ring = Ring::attach(heap.window()).unwrap();
    let mut producer = ring.producer(Life::first(1)).unwrap();
    let mut consumer = ring.consumer(Life::first(2), Unread::Keep).unwrap();
    thread::scope(|scope| {
        if rung {
            scope.spawn(move || {
                thread::sleep(TIMEOUT / 3);
                producer.push(b"wake up").unwrap();
                producer.notify(&FutexBell).unwrap();
            });
        }
        let started = Instant::now();
        (consumer.wait(wait), started.elapsed())
    })
}

#[test]
fn every_wait_ends_at_its_deadline() {
    let waits: [&mut dyn FnMut() -> (bool, Duration); 3] = [
        &mut || consumer_wait(&mut Futex::timeout(TIMEOUT), false),
        &mut || consumer_wait(&mut SpinYield::timeout(TIMEOUT), false),
        &mut || consumer_wait(&mut SleepPoll::timeout(TIMEOUT, TIMEOUT), false),
    ];
    for wait in waits {
        let (found, elapsed) = wait();
        // The time began a little before `started`.
        assert!(!found && elapsed >= TIMEOUT * 9 / 10, "{elapsed:?}");
    }
    assert!(!consumer_wait(&mut Spin::checks(1000), false).0);
}

#[test]
fn every_wait_finds_what_comes_meanwhile() {
    let long = Duration::from_secs(60);
    assert!(consumer_wait(&mut Futex::timeout(long), true).0);
    assert!(consumer_wait(&mut Futex::forever().spin_first(100), true).0);
    assert!(consumer_wait(&mut SpinYield::forever(), true).0);
    assert!(consumer_wait(&mut SleepPoll::timeout(long, TIMEOUT), true).0);
    assert!(consumer_wait(&mut Spin::forever(), true).0);
}

/// Counts the sleeps of the wait inside.
struct Counted(Futex, u32);

impl Wait for Counted {
    fn pause(&mut self) -> shmem_core::wait::Pause {
        self.0.pause()
    }

    fn sleep(&mut self, rings: &shmem_core::primitive::AtomicU32, seen: u32) {
        self.1 += 1;
        self.0.sleep(rings, seen);
    }
}

#[test]
fn a_futex_sleeps_until_it_is_rung_and_does_not_look_meanwhile() {
    let mut wait = Counted(Futex::forever(), 0);
    assert!(consumer_wait(&mut wait, true).0);
    assert!(wait.1 <= 2, "slept {} times", wait.1);
}

#[test]
fn a_poll_goes_on_with_the_delay_it_had_come_to() {
    let mut poll = SleepPoll::timeout(TIMEOUT, Duration::from_millis(8));
    assert!(!consumer_wait(&mut poll, false).0);
    assert_eq!(poll.delay(), Duration::from_millis(8));
    let next = SleepPoll::timeout(TIMEOUT, Duration::from_millis(20)).starting_at(poll.delay());
    assert_eq!(next.delay(), Duration::from_millis(8));
}

#[test]
fn a_poll_sleeps_longer_than_a_recheck_only_where_it_is_told_to() {
    let long = RECHECK * 2;
    let poll = || SleepPoll::timeout(long, long);
    assert_eq!(poll().starting_at(long).delay(), RECHECK);
    assert_eq!(poll().recheck(long).starting_at(long).delay(), long);
}
