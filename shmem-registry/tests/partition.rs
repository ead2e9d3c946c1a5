//! What partitions know of each other's lives.
#![cfg(not(loom))]

use core::time::Duration;
use std::cell::Cell;

use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::Spin;
use shmem_core::{Life, Region};
use shmem_registry::{AttachError, Geometry, Heartbeats, Process, Registry, Replaced};
use shmem_sync::{Immortal, Liveness};

fn registry(heap: &Heap) -> Registry<'_> {
    let region = Region::format(heap.window(), 0).unwrap();
    Registry::format(region, Geometry::default()).unwrap()
}

fn life(partition: u8, incarnation: u32) -> Life {
    Life::new(partition, incarnation).unwrap()
}

#[test]
fn a_partition_shows_its_life_in_its_own_slot() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let never = registry.partition(2).unwrap();
    assert_eq!((never.life, never.attached), (None, false));
    let mut presence = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    let before = registry.partition(2).unwrap();
    presence.beat().unwrap();
    let after = registry.partition(2).unwrap();
    assert!(before.attached && before.life == Some(life(2, 1)));
    assert_ne!(before.heartbeat, after.heartbeat);
    drop(presence);
    let left = registry.partition(2).unwrap();
    assert_eq!((left.life, left.attached), (Some(life(2, 1)), false));
    let again = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    assert_eq!(again.life(), life(2, 2));
}

#[test]
fn a_number_without_a_slot_is_an_error_that_says_how_many_there_are() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    for partition in [0, 65, 255] {
        let error = registry.attach_partition(partition, Process::UNKNOWN).err();
        let slots = 64;
        assert_eq!(
            error,
            Some(AttachError::NoSuchPartition { partition, slots })
        );
        assert!(registry.partition(partition).is_err());
    }
}

#[test]
fn a_number_is_not_attached_twice_while_the_first_lives() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let mut first = registry.attach_partition(3, Process::UNKNOWN).unwrap();
    let attached = Some(AttachError::Attached { life: life(3, 1) });
    assert_eq!(
        registry.attach_partition(3, Process::UNKNOWN).err(),
        attached
    );
    let mut wait = Spin::checks(10);
    let error = registry.attach_when_over(3, Process::UNKNOWN, &mut wait, &mut Immortal);
    assert_eq!(error.err(), attached);
    assert_eq!(first.beat(), Ok(()), "the region is as it was");
    // Another life than the one that is over has it.
    let error = registry.attach_after(life(3, 9), Process::UNKNOWN).err();
    assert_eq!(error, attached);
}

#[test]
fn who_was_taken_for_dead_learns_it_with_its_next_beat_and_touches_nothing() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let mut slow = registry.attach_partition(3, Process::UNKNOWN).unwrap();
    let next = registry
        .attach_after(slow.life(), Process::UNKNOWN)
        .unwrap();
    assert_eq!(next.life(), life(3, 2));
    let before = registry.partition(3).unwrap();
    assert_eq!(slow.beat(), Err(Replaced));
    drop(slow);
    assert_eq!(registry.partition(3).unwrap(), before);
}

#[test]
fn two_that_were_given_one_number_learn_it_by_the_heartbeat() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let mut first = registry.attach_partition(3, Process::UNKNOWN).unwrap();
    // As if it had attached at the same moment.
    let at = 256 + 2 * 128;
    heap.window().word(at).store(0, Relaxed);
    let mut second = registry.attach_partition(3, Process::UNKNOWN).unwrap();
    assert_eq!(second.life(), first.life());
    second.beat().unwrap();
    assert_eq!(first.beat(), Err(Replaced));
}

#[test]
fn a_slot_that_holds_another_partitions_life_is_corrupt() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    for word in [life(4, 1).word(), 7, 0x100] {
        heap.window().word(256).store(word, Relaxed);
        let is_corrupt = |error: Option<AttachError>| matches!(error, Some(AttachError::Corrupt(corrupt)) if corrupt.value == word);
        assert!(is_corrupt(registry.partition(1).err()));
        let error = registry.attach_partition(1, Process::UNKNOWN).err();
        assert!(is_corrupt(error));
    }
}

#[test]
fn a_heartbeat_that_stands_still_for_longer_than_the_limit_is_a_death() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let clock = Cell::new(Duration::ZERO);
    let limit = Duration::from_millis(100);
    let mut liveness = Heartbeats::by_clock(registry, limit, || clock.get());
    let pass = |millis| clock.set(clock.get() + Duration::from_millis(millis));
    let mut presence = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    let first = presence.life();
    for _ in 0..10 {
        assert!(!liveness.is_over(first));
        pass(90);
        presence.beat().unwrap();
    }
    assert!(!liveness.is_over(first));
    pass(100);
    assert!(!liveness.is_over(first), "not longer than the limit");
    pass(1);
    assert!(liveness.is_over(first));
    // It was only slow.
    presence.beat().unwrap();
    assert!(!liveness.is_over(first));
    // The limit starts with the first question, not with the last beat.
    drop(presence);
    assert!(liveness.is_over(first), "it has left");
    let second = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    assert!(liveness.is_over(first), "another life followed");
    pass(1000);
    assert!(!liveness.is_over(second.life()));
    assert!(liveness.is_over(life(99, 1)), "nobody's: it has no slot");
}

#[test]
fn those_that_died_together_are_known_together() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let clock = Cell::new(Duration::ZERO);
    let limit = Duration::from_millis(100);
    let mut liveness = Heartbeats::by_clock(registry, limit, || clock.get());
    let [second, third] = [2, 3].map(|partition| {
        let presence = registry
            .attach_partition(partition, Process::UNKNOWN)
            .unwrap();
        let life = presence.life();
        core::mem::forget(presence);
        life
    });
    assert!(!liveness.is_over(second));
    clock.set(limit + Duration::from_millis(1));
    assert!(liveness.is_over(second));
    assert!(liveness.is_over(third), "first asked about now");
}

#[test]
fn a_new_life_attaches_as_soon_as_the_old_one_is_known_to_be_over() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    core::mem::forget(registry.attach_partition(2, Process::UNKNOWN).unwrap());
    let looks = Cell::new(0);
    struct After<'a>(&'a Cell<u32>);
    impl Liveness for After<'_> {
        fn is_over(&mut self, _: Life) -> bool {
            self.0.set(self.0.get() + 1);
            self.0.get() > 5
        }
    }
    let presence = registry
        .attach_when_over(
            2,
            Process::UNKNOWN,
            &mut Spin::forever(),
            &mut After(&looks),
        )
        .unwrap();
    assert_eq!((presence.life(), looks.get()), (life(2, 2), 6));
}

#[cfg(all(feature = "linux", target_os = "linux"))]
mod processes {
    use super::*;
    use shmem_registry::Processes;
    use std::process::{Child, Command};

    fn sleeper() -> Child {
        Command::new("sleep").arg("1000").spawn().unwrap()
    }

    /// A child as it would have announced itself.
    fn process_of(child: &Child) -> Process {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let fields = &stat[stat.rfind(')').unwrap() + 1..];
        let start: u64 = fields.split_whitespace().nth(19).unwrap().parse().unwrap();
        Process {
            number: child.id(),
            start: start as u32,
            ..Process::this()
        }
    }

    #[test]
    fn a_process_that_was_killed_is_known_to_be_over_at_once() {
        let heap = Heap::new(1 << 16);
        let registry = registry(&heap);
        let mut liveness = Processes::new(registry);
        let mut child = sleeper();
        let presence = registry.attach_partition(2, process_of(&child)).unwrap();
        assert!(!liveness.is_over(presence.life()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(liveness.is_over(presence.life()));
        // Asked for the first time when it is gone.
        assert!(Processes::new(registry).is_over(presence.life()));
    }

    #[test]
    fn a_process_number_that_is_used_again_is_not_taken_for_the_same_process() {
        let heap = Heap::new(1 << 16);
        let registry = registry(&heap);
        let mut other = Process::this();
        let ours = registry.attach_partition(1, other).unwrap();
        assert!(!Processes::new(registry).is_over(ours.life()));
        other.start = other.start.wrapping_sub(1);
        let gone = registry.attach_partition(2, other).unwrap();
        assert!(Processes::new(registry).is_over(gone.life()));
    }

    #[test]
    fn of_a_process_of_another_kernel_nothing_is_known() {
        let heap = Heap::new(1 << 16);
        let registry = registry(&heap);
        let far = Process {
            space: Process::this().space ^ 1,
            number: 4_000_000,
            start: 1,
        };
        let presence = registry.attach_partition(2, far).unwrap();
        assert!(!Processes::new(registry).is_over(presence.life()));
        let unknown = registry.attach_partition(3, Process::UNKNOWN).unwrap();
        assert!(!Processes::new(registry).is_over(unknown.life()));
    }
}
