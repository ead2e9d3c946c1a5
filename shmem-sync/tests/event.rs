//! What a doorbell over an eventfd guarantees: it wakes its sleeper, once for each sleep.
#![cfg(all(feature = "linux", target_os = "linux", not(loom)))]

use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use shmem_core::doorbell::Doorbell;
use shmem_core::primitive::AtomicU32;
use shmem_core::ring::{OnRestart, Ring};
use shmem_core::wait::{Pause, Wait};
use shmem_core::{Incarnation, Mapping, Region};
use shmem_sync::{EventBell, EventWait};

/// Returns the ring in a region of memory that was mapped just now.
fn ring(memory: &Mapping) -> Ring<'_> {
    let region = Region::attach(memory.window()).unwrap();
    let segment = region.body().sub(0, Ring::segment_len(4096)).unwrap();
    Ring::attach(segment).unwrap()
}

/// Returns a second mapping of the same memory, as a peer has it.
fn mapped_again(memory: &Mapping) -> Mapping {
    let fd = memory.as_fd().try_clone_to_owned().unwrap();
    Mapping::from_fd(fd).unwrap()
}

#[test]
fn a_consumer_that_sleeps_on_an_eventfd_is_woken_by_the_record() {
    const RECORDS: u32 = 200;
    let ours = Mapping::memfd("event", 64 * 1024).unwrap();
    Region::format(ours.window()).unwrap();
    let theirs = mapped_again(&ours);
    let bell = EventBell::new().unwrap();
    let peers = EventBell::from_fd(bell.as_fd().try_clone_to_owned().unwrap()).unwrap();
    let back = EventBell::new().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut producer = ring(&theirs).claim_producer(Incarnation::first(1)).unwrap();
            for n in 0..RECORDS {
                producer.push(&n.to_le_bytes()).unwrap();
                producer.notify(&peers).unwrap();
                let mut wait = EventWait::forever(&back);
                assert!(producer.wait_for_space(2000, &mut wait).unwrap());
            }
        });
        let mut consumer = ring(&ours)
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        for n in 0..RECORDS {
            assert!(consumer.wait(&mut EventWait::forever(&bell)));
            let mut record = [0; 4];
            assert_eq!(consumer.pop(&mut record), Ok(4));
            assert_eq!(u32::from_le_bytes(record), n);
            consumer.notify(&back).unwrap();
        }
    });
}

/// Returns true if the doorbell has not rung since the last sleep.
fn is_silent(bell: &EventBell) -> bool {
    rustix::io::read(bell, &mut [0; 8]).is_err()
}

#[test]
fn several_rings_end_one_sleep_only() {
    let bell = EventBell::new().unwrap();
    let ring_count = AtomicU32::new(7);
    bell.ring(&ring_count);
    bell.ring(&ring_count);
    EventWait::forever(&bell).sleep(&ring_count, 7);
    assert!(is_silent(&bell));
}

#[test]
fn a_word_that_has_changed_is_not_slept_on() {
    let bell = EventBell::new().unwrap();
    let ring_count = AtomicU32::new(8);
    bell.ring(&ring_count);
    EventWait::forever(&bell).sleep(&ring_count, 7);
    assert!(!is_silent(&bell));
}

#[test]
fn a_sleep_lasts_until_the_requested_recheck() {
    let bell = EventBell::new().unwrap();
    let longest = Duration::from_millis(90);
    for wait in [EventWait::forever, |bell| {
        EventWait::timeout(bell, Duration::MAX)
    }] {
        let started = Instant::now();
        wait(&bell).recheck(longest).sleep(&AtomicU32::new(0), 0);
        assert!(started.elapsed() >= longest);
    }
    // Longer than the kernel accepts.
    bell.ring(&AtomicU32::new(0));
    let mut wait = EventWait::forever(&bell).recheck(Duration::MAX);
    wait.sleep(&AtomicU32::new(0), 0);
    assert!(is_silent(&bell));
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let bell = EventBell::new().unwrap();
    let past = Instant::now();
    assert_eq!(EventWait::until(&bell, past).pause(), Pause::TimedOut);
    let timeout = Duration::from_millis(60);
    let mut wait = EventWait::timeout(&bell, timeout).spin_first(3);
    let started = Instant::now();
    while wait.pause() != Pause::TimedOut {
        wait.sleep(&AtomicU32::new(0), 0);
    }
    // The timeout began a little before `started`.
    assert!(started.elapsed() >= timeout * 9 / 10);
}

#[test]
fn spins_come_before_each_sleep_and_do_not_outlast_the_deadline() {
    let bell = EventBell::new().unwrap();
    let mut wait = EventWait::forever(&bell).spin_first(3);
    let pauses = |wait: &mut EventWait| [(); 4].map(|()| wait.pause());
    let round = [Pause::Again, Pause::Again, Pause::Again, Pause::Sleep];
    assert_eq!([pauses(&mut wait), pauses(&mut wait)], [round; 2]);
    let timeout = Duration::from_millis(60);
    let mut wait = EventWait::timeout(&bell, timeout).spin_first(u32::MAX);
    let started = Instant::now();
    while wait.pause() != Pause::TimedOut {}
    assert!(started.elapsed() < timeout * 20, "{:?}", started.elapsed());
}
