//! What heartbeats show about a partition: it is silent, but never gone, unless the platform
//! decided so.
#![cfg(not(loom))]

use core::time::Duration;
use std::cell::Cell;

use shmem_core::mem::Heap;
use shmem_core::PartitionState::{self, Alive, Gone, Silent};
use shmem_core::{Incarnation, Liveness, Region};
use shmem_registry::{Geometry, Heartbeats, Process, Registry};

fn registry(heap: &Heap) -> Registry<'_> {
    let region = Region::format(heap.window()).unwrap();
    Registry::format(region, Geometry::default()).unwrap()
}

fn incarnation(partition: u8, number: u32) -> Incarnation {
    Incarnation::new(partition, number).unwrap()
}

/// A watcher with a limit of 100 ms, and its clock.
struct Watcher<'m, 'c> {
    clock: &'c Cell<Duration>,
    liveness: Heartbeats<'m, Box<dyn FnMut() -> Duration + 'c>>,
}

const LIMIT: Duration = Duration::from_millis(100);

impl<'m, 'c> Watcher<'m, 'c> {
    fn new(registry: Registry<'m>, clock: &'c Cell<Duration>) -> Self {
        let now: Box<dyn FnMut() -> Duration> = Box::new(|| clock.get());
        let liveness = Heartbeats::with_clock(registry, LIMIT, now);
        Self { clock, liveness }
    }

    /// Lets `millis` pass with a check every 10 ms.
    fn pass(&mut self, millis: u64, incarnation: Incarnation) -> PartitionState {
        for _ in 0..millis / 10 {
            self.liveness.state(incarnation);
            self.skip(10);
        }
        self.skip(millis % 10);
        self.liveness.state(incarnation)
    }

    /// Lets `millis` pass without a check.
    fn skip(&self, millis: u64) {
        self.clock
            .set(self.clock.get() + Duration::from_millis(millis));
    }
}

#[test]
fn a_heartbeat_that_stands_still_makes_a_partition_silent_but_never_gone() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let clock = Cell::new(Duration::ZERO);
    let mut watcher = Watcher::new(registry, &clock);
    let attachment = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    let first = attachment.incarnation();
    for _ in 0..10 {
        assert_eq!(watcher.pass(90, first), Alive);
        attachment.beat().unwrap();
    }
    assert_eq!(watcher.pass(100, first), Alive, "not longer than the limit");
    assert_eq!(watcher.pass(1, first), Silent);
    assert_eq!(
        watcher.pass(1_000_000, first),
        Silent,
        "silence alone never makes it gone"
    );
    // It was only slow.
    attachment.beat().unwrap();
    assert_eq!(watcher.pass(0, first), Alive);
    drop(attachment);
    assert_eq!(watcher.pass(0, first), Gone, "it has left");
    let second = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    assert_eq!(watcher.pass(0, first), Gone, "a later incarnation followed");
    assert_eq!(watcher.pass(0, second.incarnation()), Alive);
    assert_eq!(
        watcher.pass(0, incarnation(2, 3)),
        Alive,
        "this incarnation has not attached yet"
    );
    assert_eq!(
        watcher.pass(1000, incarnation(99, 1)),
        Alive,
        "it has no slot"
    );
}

#[test]
fn a_silent_partition_is_presumed_gone_only_by_explicit_choice_and_after_that_limit() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let clock = Cell::new(Duration::ZERO);
    let mut watcher = Watcher::new(registry, &clock);
    watcher.liveness = watcher.liveness.presume_gone_after(LIMIT * 5);
    let attachment = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    assert_eq!(watcher.pass(101, attachment.incarnation()), Silent);
    assert_eq!(watcher.pass(399, attachment.incarnation()), Silent);
    assert_eq!(watcher.pass(1, attachment.incarnation()), Gone);
}

#[test]
fn a_watcher_with_rare_checks_still_presumes_a_partition_gone() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let clock = Cell::new(Duration::ZERO);
    let mut watcher = Watcher::new(registry, &clock);
    watcher.liveness = watcher.liveness.presume_gone_after(LIMIT * 5);
    let attachment = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    let mut check_after = |millis| {
        watcher.skip(millis);
        watcher.pass(0, attachment.incarnation())
    };
    assert_eq!(check_after(0), Alive);
    assert_eq!(
        check_after(250),
        Alive,
        "the limit for silence started again"
    );
    assert_eq!(check_after(250), Alive, "not longer than the limit");
    assert_eq!(check_after(1), Gone);
    attachment.beat().unwrap();
    assert_eq!(check_after(0), Alive);
    assert_eq!(check_after(251), Alive);
    assert_eq!(
        check_after(250),
        Alive,
        "the watcher was absent for more than half of the limit"
    );
    assert_eq!(check_after(250), Alive);
    assert_eq!(check_after(1), Gone);
}

#[test]
fn partitions_that_fell_silent_together_are_reported_together() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let clock = Cell::new(Duration::ZERO);
    let mut watcher = Watcher::new(registry, &clock);
    let [second, third] = [2, 3].map(|partition| {
        let attachment = registry
            .attach_partition(partition, Process::UNKNOWN)
            .unwrap();
        let incarnation = attachment.incarnation();
        core::mem::forget(attachment);
        incarnation
    });
    assert_eq!(watcher.pass(130, second), Silent);
    assert_eq!(
        watcher.liveness.state(third),
        Silent,
        "this is the first check of it"
    );
}

#[test]
fn a_watcher_that_was_absent_restarts_the_limit_of_all_partitions() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let clock = Cell::new(Duration::from_secs(5000));
    let mut watcher = Watcher::new(registry, &clock);
    let attachment = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    let us = attachment.incarnation();
    for absent in [51, 1000, 3_600_000] {
        assert_eq!(watcher.pass(90, us), Alive);
        watcher.skip(absent);
        assert_eq!(watcher.pass(100, us), Alive, "absent for {absent} ms");
        assert_eq!(watcher.pass(1, us), Silent);
        attachment.beat().unwrap();
    }
    // A clock that wraps or is set back.
    assert_eq!(watcher.pass(90, us), Alive);
    clock.set(Duration::from_secs(1));
    assert_eq!(watcher.pass(100, us), Alive);
    assert_eq!(watcher.pass(1, us), Silent);
}

#[test]
fn a_clock_that_goes_back_within_a_check_makes_no_partition_silent() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let attachment = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    for step in 0..12 {
        // The clock is set back by an hour between two readings, and continues.
        let (now, reads) = (Cell::new(Duration::from_secs(7200)), Cell::new(0));
        let set_back = || {
            reads.set(reads.get() + 1);
            let back = if reads.get() == step { 3600 } else { 0 };
            now.set(now.get() - Duration::from_secs(back) + Duration::from_micros(1));
            now.get()
        };
        let liveness = Heartbeats::with_clock(registry, LIMIT, set_back);
        let mut liveness = liveness.presume_gone_after(LIMIT * 2);
        for check in 0..10 {
            let state = liveness.state(attachment.incarnation());
            assert_eq!(state, Alive, "step {step}, check {check}");
            attachment.beat().unwrap();
        }
    }
}

#[test]
fn a_watcher_stopped_within_a_check_makes_no_partition_silent() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let attachment = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    // After each reading of the clock the watcher is stopped for 40 ms, in which the partition
    // beats.
    let now = Cell::new(Duration::ZERO);
    let slow = || {
        let read = now.get();
        now.set(read + Duration::from_millis(40));
        attachment.beat().unwrap();
        read
    };
    let mut liveness = Heartbeats::with_clock(registry, LIMIT, slow);
    for _ in 0..100 {
        assert_eq!(liveness.state(attachment.incarnation()), Alive);
    }
}
