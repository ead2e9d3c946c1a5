//! What the waits guarantee: they end when rung, and at the deadline.
#![cfg(all(feature = "linux", target_os = "linux"))]

use std::thread;
use std::time::{Duration, Instant};

use shmem_core::doorbell::Doorbell;
use shmem_core::mem::Heap;
use shmem_core::primitive::AtomicU32;
use shmem_core::ring::{OnRestart, Ring};
use shmem_core::wait::{Pause, Spin, Wait, RECHECK};
use shmem_core::Incarnation;
use shmem_sync::{Futex, FutexBell, SleepPoll, SpinYield};

const TIMEOUT: Duration = Duration::from_millis(60);

fn consumer_wait(wait: &mut impl Wait, rung: bool) -> (bool, Duration) {
    let heap = Heap::new(Ring::segment_len(4096));
    let ring = Ring::attach(heap.window()).unwrap();
    let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
    let mut consumer = ring
        .claim_consumer(Incarnation::first(2), OnRestart::Keep)
        .unwrap();
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
        // The timeout began a little before `started`.
        assert!(!found && elapsed >= TIMEOUT * 9 / 10, "{elapsed:?}");
    }
    assert!(!consumer_wait(&mut Spin::checks(1000), false).0);
}

#[test]
fn every_wait_ends_when_a_record_arrives() {
    let long = Duration::from_secs(60);
    assert!(consumer_wait(&mut Futex::timeout(long), true).0);
    assert!(consumer_wait(&mut Futex::forever().spin_first(100), true).0);
    assert!(consumer_wait(&mut SpinYield::forever(), true).0);
    assert!(consumer_wait(&mut SleepPoll::timeout(long, TIMEOUT), true).0);
    assert!(consumer_wait(&mut Spin::forever(), true).0);
}

/// Counts the sleeps of the inner wait.
struct Counted(Futex, u32);

impl Wait for Counted {
    fn pause(&mut self) -> Pause {
        self.0.pause()
    }

    fn sleep(&mut self, ring_count: &AtomicU32, seen: u32) {
        self.1 += 1;
        self.0.sleep(ring_count, seen);
    }
}

#[test]
fn a_futex_sleeps_until_it_is_rung_without_checking() {
    let mut wait = Counted(Futex::forever(), 0);
    assert!(consumer_wait(&mut wait, true).0);
    assert!(wait.1 <= 2, "slept {} times", wait.1);
}

#[test]
fn a_poll_continues_with_the_delay_of_an_earlier_poll() {
    let mut poll = SleepPoll::timeout(TIMEOUT, Duration::from_millis(8));
    assert!(!consumer_wait(&mut poll, false).0);
    assert_eq!(poll.delay(), Duration::from_millis(8));
    let next = SleepPoll::timeout(TIMEOUT, Duration::from_millis(20)).starting_at(poll.delay());
    assert_eq!(next.delay(), Duration::from_millis(8));
}

#[test]
fn a_poll_sleeps_longer_than_a_recheck_only_on_request() {
    let long = RECHECK * 2;
    let poll = || SleepPoll::timeout(long, long);
    assert_eq!(poll().starting_at(long).delay(), RECHECK);
    assert_eq!(poll().recheck(long).starting_at(long).delay(), long);
}

#[test]
fn a_poll_with_any_limit_neither_spins_nor_panics() {
    let poll = SleepPoll::timeout(TIMEOUT, RECHECK)
        .recheck(Duration::MAX)
        .starting_at(Duration::MAX);
    assert!(poll.delay() > Duration::from_secs(1_000_000));
    let mut poll = SleepPoll::timeout(TIMEOUT, Duration::ZERO);
    let started = Instant::now();
    let checks = (0..).take_while(|_| poll.pause() == Pause::Again).count();
    assert!(started.elapsed() >= TIMEOUT * 9 / 10);
    assert!(
        checks <= TIMEOUT.as_micros() as usize / 50 + 1,
        "{checks} checks"
    );
}

#[test]
fn a_poll_without_a_deadline_sleeps_for_the_requested_time() {
    let long = RECHECK * 3;
    let mut poll = SleepPoll::timeout(Duration::MAX, RECHECK)
        .recheck(long)
        .starting_at(long);
    let started = Instant::now();
    assert_eq!(poll.pause(), Pause::Again);
    assert!(started.elapsed() >= long);
}

#[test]
fn spins_come_before_each_sleep_and_do_not_outlast_the_deadline() {
    let mut wait = Futex::forever().spin_first(100);
    for _ in 0..3 {
        let spins = (0..).take_while(|_| wait.pause() == Pause::Again).count();
        assert_eq!(spins, 100);
    }
    let mut wait = Futex::timeout(TIMEOUT).spin_first(u32::MAX);
    let started = Instant::now();
    assert!(!consumer_wait(&mut wait, false).0);
    assert!(started.elapsed() < TIMEOUT * 20, "{:?}", started.elapsed());
}

/// Returns a word of memory on which the kernel rejects a futex, as on `/dev/mem` and on a device's
/// memory: the page of clocks that it maps into every process.
fn word_without_a_futex() -> &'static AtomicU32 {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.ends_with("[vvar]")).unwrap();
    let base = usize::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
    // SAFETY: mapped permanently; nothing here loads or stores it.
    unsafe { AtomicU32::from_ptr(base as *mut u32) }
}

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_futex_polls_at_a_limited_rate_on_memory_without_futexes() {
    let word = word_without_a_futex();
    FutexBell.ring(word);
    FutexBell.ring_all(word);
    let time = Duration::from_millis(300);
    let mut wait = Futex::timeout(time);
    let (started, before) = (Instant::now(), processor_time());
    let mut sleeps = 0;
    while wait.pause() != Pause::TimedOut {
        wait.sleep(word, 0);
        sleeps += 1;
    }
    // 50 µs, doubled nine times, then every 20 ms.
    assert!((9..=40).contains(&sleeps), "{sleeps} sleeps");
    assert!(started.elapsed() >= time && started.elapsed() < time * 2);
    let used = processor_time() - before;
    assert!(used < time / 10, "{used:?} of processor time");
}
