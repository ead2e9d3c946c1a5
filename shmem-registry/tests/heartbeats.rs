//! What heartbeats say of a partition's incarnation: that it is silent, and never more by
//! themselves.
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

/// A watcher with a limit of 100 ms, and the time it goes by.
struct Watch<'m, 'c> {
    clock: &'c Cell<Duration>,
    liveness: Heartbeats<'m, Box<dyn FnMut() -> Duration + 'c>>,
}

const LIMIT: Duration = Duration::from_millis(100);

impl<'m, 'c> Watch<'m, 'c> {
    fn new(registry: Registry<'m>, clock: &'c Cell<Duration>) -> Self {
        let now: Box<dyn FnMut() -> Duration> = Box::new(|| clock.get());
        let liveness = Heartbeats::by_clock(registry, LIMIT, now);
        Self { clock, liveness }
    }

    /// Lets `millis` pass, and looks every 10 of them.
    fn pass(&mut self, millis: u64, incarnation: Incarnation) -> PartitionState {
        for _ in 0..millis / 10 {
            self.liveness.state(incarnation);
            self.jump(10);
        }
        self.jump(millis % 10);
        self.liveness.state(incarnation)
    }

    /// Lets `millis` pass without a look.
    fn jump(&self, millis: u64) {
        self.clock
            .set(self.clock.get() + Duration::from_millis(millis));
    }
}

#[test]
fn a_heartbeat_that_stands_still_for_longer_than_the_limit_is_silence_and_no_more() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let clock = Cell::new(Duration::ZERO);
    let mut watch = Watch::new(registry, &clock);
    let attachment = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    let first = attachment.incarnation();
    for _ in 0..10 {
        assert_eq!(watch.pass(90, first), Alive);
        attachment.beat().unwrap();
    }
    assert_eq!(watch.pass(100, first), Alive, "not longer than the limit");
    assert_eq!(watch.pass(1, first), Silent);
    assert_eq!(
        watch.pass(1_000_000, first),
        Silent,
        "for as long as it likes"
    );
    // It was only slow.
    attachment.beat().unwrap();
    assert_eq!(watch.pass(0, first), Alive);
    drop(attachment);
    assert_eq!(watch.pass(0, first), Gone, "it has left");
    let second = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    assert_eq!(watch.pass(0, first), Gone, "a later incarnation followed");
    assert_eq!(watch.pass(0, second.incarnation()), Alive);
    assert_eq!(watch.pass(0, incarnation(2, 3)), Alive, "still to come");
    assert_eq!(
        watch.pass(1000, incarnation(99, 1)),
        Alive,
        "it has no slot to beat in"
    );
}

#[test]
fn silence_is_the_end_only_where_the_platform_said_so_and_after_its_own_limit() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let clock = Cell::new(Duration::ZERO);
    let mut watch = Watch::new(registry, &clock);
    watch.liveness = watch.liveness.presume_gone_after(LIMIT * 5);
    let attachment = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    assert_eq!(watch.pass(101, attachment.incarnation()), Silent);
    assert_eq!(watch.pass(399, attachment.incarnation()), Silent);
    assert_eq!(watch.pass(1, attachment.incarnation()), Gone);
}

#[test]
fn one_that_asks_seldom_presumes_an_end_all_the_same() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let clock = Cell::new(Duration::ZERO);
    let mut watch = Watch::new(registry, &clock);
    watch.liveness = watch.liveness.presume_gone_after(LIMIT * 5);
    let attachment = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    let mut look_after = |millis| {
        watch.jump(millis);
        watch.pass(0, attachment.incarnation())
    };
    assert_eq!(look_after(0), Alive);
    assert_eq!(look_after(250), Alive, "silence was not watched for");
    assert_eq!(look_after(250), Alive, "not longer than the limit");
    assert_eq!(look_after(1), Gone);
    attachment.beat().unwrap();
    assert_eq!(look_after(0), Alive);
    assert_eq!(look_after(251), Alive);
    assert_eq!(look_after(250), Alive, "away for more than half of it");
    assert_eq!(look_after(250), Alive);
    assert_eq!(look_after(1), Gone);
}

#[test]
fn those_that_fell_silent_together_are_known_together() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let clock = Cell::new(Duration::ZERO);
    let mut watch = Watch::new(registry, &clock);
    let [second, third] = [2, 3].map(|partition| {
        let attachment = registry
            .attach_partition(partition, Process::UNKNOWN)
            .unwrap();
        let incarnation = attachment.incarnation();
        core::mem::forget(attachment);
        incarnation
    });
    assert_eq!(watch.pass(130, second), Silent);
    assert_eq!(watch.liveness.state(third), Silent, "first asked about now");
}

#[test]
fn a_watcher_that_was_away_gives_everybody_a_new_limit() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let clock = Cell::new(Duration::from_secs(5000));
    let mut watch = Watch::new(registry, &clock);
    let attachment = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    let us = attachment.incarnation();
    for away in [51, 1000, 3_600_000] {
        assert_eq!(watch.pass(90, us), Alive);
        watch.jump(away);
        assert_eq!(watch.pass(100, us), Alive, "away for {away} ms");
        assert_eq!(watch.pass(1, us), Silent);
        attachment.beat().unwrap();
    }
    // A clock that wraps, or is set.
    assert_eq!(watch.pass(90, us), Alive);
    clock.set(Duration::from_secs(1));
    assert_eq!(watch.pass(100, us), Alive);
    assert_eq!(watch.pass(1, us), Silent);
}

#[test]
fn a_clock_that_goes_back_within_a_look_makes_nobody_silent() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let attachment = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    for step in 0..12 {
        // The clock is set back by an hour between two readings, and runs on.
        let (now, reads) = (Cell::new(Duration::from_secs(7200)), Cell::new(0));
        let set_back = || {
            reads.set(reads.get() + 1);
            let back = if reads.get() == step { 3600 } else { 0 };
            now.set(now.get() - Duration::from_secs(back) + Duration::from_micros(1));
            now.get()
        };
        let liveness = Heartbeats::by_clock(registry, LIMIT, set_back);
        let mut liveness = liveness.presume_gone_after(LIMIT * 2);
        for look in 0..10 {
            let state = liveness.state(attachment.incarnation());
            assert_eq!(state, Alive, "step {step}, look {look}");
            attachment.beat().unwrap();
        }
    }
}

#[test]
fn a_watcher_that_is_stopped_while_it_looks_makes_nobodys_silence_longer() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let attachment = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    // Each look at the clock is followed by a stop of 40 ms, in which it beats.
    let now = Cell::new(Duration::ZERO);
    let slow = || {
        let read = now.get();
        now.set(read + Duration::from_millis(40));
        attachment.beat().unwrap();
        read
    };
    let mut liveness = Heartbeats::by_clock(registry, LIMIT, slow);
    for _ in 0..100 {
        assert_eq!(liveness.state(attachment.incarnation()), Alive);
    }
}
