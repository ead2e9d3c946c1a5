//! Removal of segments, and reaping what dead partitions left.
#![cfg(not(loom))]

use std::collections::HashMap;
use std::thread;

use shmem_core::mem::Heap;
use shmem_core::{Incarnation, Region};
use shmem_registry::{Geometry, Id, Kind, OpenError, Registry, RemoveError, Request};
use shmem_sync::{AssumeAlive, Liveness, PartitionState};

const ME: Incarnation = Incarnation::first(1);

fn registry(heap: &Heap, geometry: Geometry) -> Registry<'_> {
    let region = Region::format(heap.window()).unwrap();
    Registry::format(region, geometry).unwrap()
}

fn raw(id: u64, len: usize) -> Request {
    Request::new(Id::new(id).unwrap(), Kind::RAW, len).unwrap()
}

/// Reports every incarnation except this one as gone.
struct OnlyAlive(Incarnation);

impl Liveness for OnlyAlive {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        PartitionState::from_is_gone(incarnation != self.0)
    }
}

#[test]
fn a_removed_segment_is_not_found_and_its_handle_is_stale() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap, Geometry::default());
    let free = registry.free_bytes();
    let segment = registry.open_or_create(ME, &raw(7, 1000)).unwrap();
    assert!(registry.is_current(&segment));
    registry.remove(ME, &segment).unwrap();
    assert!(!registry.is_current(&segment));
    assert_eq!(registry.remove(ME, &segment), Err(RemoveError::Stale));
    assert_eq!(
        registry.lookup(segment.id()).err(),
        Some(OpenError::NotFound)
    );
    assert_eq!(
        (registry.free_bytes(), registry.segments().count()),
        (free, 0)
    );
    // A new segment with the same identifier is another one, and zero.
    segment.window().write(0, &[1; 8]);
    let again = registry.open_or_create(ME, &raw(7, 2000)).unwrap();
    assert_eq!(registry.remove(ME, &segment), Err(RemoveError::Stale));
    let mut bytes = [1; 8];
    again.window().read(0, &mut bytes);
    assert_eq!((bytes, again.len()), ([0; 8], 2000));
    assert!(registry.is_current(&again));
}

#[test]
fn a_stale_handle_stays_stale_when_its_row_is_used_again() {
    let heap = Heap::new(1 << 16);
    let geometry = Geometry {
        segments: 2,
        ..Geometry::default()
    };
    let registry = registry(&heap, geometry);
    let first = registry.open_or_create(ME, &raw(1, 100)).unwrap();
    registry.remove(ME, &first).unwrap();
    for n in 2..100 {
        let other = registry.open_or_create(ME, &raw(n, 100)).unwrap();
        assert_eq!(registry.remove(ME, &first), Err(RemoveError::Stale));
        assert!(!registry.is_current(&first) && registry.is_current(&other));
        registry.remove(ME, &other).unwrap();
    }
}

#[test]
fn removing_any_row_of_a_chain_keeps_the_others() {
    let heap = Heap::new(1 << 16);
    let geometry = Geometry {
        segments: 64,
        ..Geometry::default()
    };
    for removed in 0..6_u64 {
        let registry = registry(&heap, geometry);
        // Identifiers of one bucket of 128: the top 7 bits of the hash are equal.
        let bucket = |id: u64| id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 57;
        let ids: Vec<u64> = (1..).filter(|&id| bucket(id) == 5).take(6).collect();
        let made: Vec<_> = ids
            .iter()
            .map(|&id| registry.open_or_create(ME, &raw(id, 64)).unwrap())
            .collect();
        registry.remove(ME, &made[removed as usize]).unwrap();
        for (n, &id) in ids.iter().enumerate() {
            let found = registry.lookup(Id::new(id).unwrap());
            assert_eq!(found.is_ok(), n as u64 != removed);
        }
        let back = registry.open_or_create(ME, &raw(ids[removed as usize], 64));
        assert!(registry.is_current(&back.unwrap()));
        assert_eq!(registry.segments().count(), 6);
    }
}

#[test]
fn freed_space_is_merged_and_used_again() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap, Geometry::default());
    let free = registry.free_bytes();
    let small: Vec<_> = (1..=40)
        .map(|n| registry.open_or_create(ME, &raw(n, 1000)).unwrap())
        .collect();
    // Every second one first, so that the rest must be merged with its space.
    for (n, segment) in small.iter().enumerate() {
        if n % 2 == 0 {
            registry.remove(ME, segment).unwrap();
        }
    }
    for (n, segment) in small.iter().enumerate() {
        if n % 2 == 1 {
            registry.remove(ME, segment).unwrap();
        }
    }
    assert_eq!(registry.free_bytes(), free);
    registry.open_or_create(ME, &raw(99, free)).unwrap();
}

/// A create or a remove every 0.3 s for 24 hours.
#[test]
fn a_day_of_creating_and_removing_leaves_space_for_each_request() {
    let heap = Heap::new(1 << 20);
    let registry = registry(
        &heap,
        Geometry {
            segments: 256,
            ..Geometry::default()
        },
    );
    let (total, mut used) = (registry.free_bytes(), 0);
    let mut held = HashMap::new();
    let mut state = 1_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for _ in 0..288_000 {
        let id = 1 + random(200);
        if let Some(segment) = held.remove(&id) {
            used -= cost(&segment);
            registry.remove(ME, &segment).unwrap();
            continue;
        }
        // 1 byte to 16 KiB, small lengths more often.
        let most = 1 << random(15);
        let len = 1 + random(most) as usize;
        // At most half of the space is in use, and no request exceeds a thirtieth of the free
        // space: every request must succeed.
        if used + len > total / 2 {
            continue;
        }
        let segment = registry.open_or_create(ME, &raw(id, len)).unwrap();
        used += cost(&segment);
        held.insert(id, segment);
    }
    assert_eq!(registry.free_bytes(), total - used);
    for segment in held.values() {
        registry.remove(ME, segment).unwrap();
    }
    assert_eq!(registry.free_bytes(), total);
    registry.open_or_create(ME, &raw(999, total)).unwrap();
}

fn cost(segment: &shmem_registry::Segment<'_>) -> usize {
    segment.len().next_multiple_of(128)
}

#[test]
fn partitions_that_create_and_remove_the_same_identifiers_leak_nothing() {
    let heap = Heap::new(1 << 16);
    let registry = registry(
        &heap,
        Geometry {
            segments: 8,
            ..Geometry::default()
        },
    );
    let free = registry.free_bytes();
    thread::scope(|scope| {
        for by in 1..=4_u8 {
            scope.spawn(move || {
                let incarnation = Incarnation::first(by);
                for n in 0..20_000_u64 {
                    let request = raw(1 + (n + u64::from(by)) % 5, 300);
                    match registry.open_or_create(incarnation, &request) {
                        Ok(segment) if n % 2 == 0 => match registry.remove(incarnation, &segment) {
                            Ok(()) | Err(RemoveError::Stale) => {}
                            Err(error) => panic!("{error}"),
                        },
                        Ok(_) | Err(OpenError::Contended) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    let left: Vec<_> = registry.segments().map(Result::unwrap).collect();
    assert_eq!(registry.unfinished().count(), 0);
    assert_eq!(registry.free_bytes(), free - left.len() * 384);
    for segment in &left {
        registry.remove(ME, segment).unwrap();
    }
    assert_eq!(registry.free_bytes(), free);
}

#[cfg(feature = "crash")]
mod deaths {
    use super::*;
    use shmem_core::crash::{self, Ended};

    /// Lets partition 2 die at each store of `work`, in a registry that `setup` prepared. Then
    /// partition 1 continues.
    fn at_each_store(
        setup: impl Fn(&Registry<'_>),
        work: impl Fn(&Registry<'_>, Incarnation),
        check: impl Fn(&Registry<'_>, &str),
    ) {
        let victim = Incarnation::first(2);
        for at in 0.. {
            let heap = Heap::new(1 << 15);
            let registry = registry(
                &heap,
                Geometry {
                    segments: 4,
                    ..Geometry::default()
                },
            );
            setup(&registry);
            let ended = crash::run(Some(at), || work(&registry, victim));
            check(&registry, &format!("death at store {at}"));
            let taken = registry.reap(ME, &mut OnlyAlive(ME)).unwrap();
            assert_eq!(registry.unfinished().count(), 0);
            assert_eq!(
                registry.reap(ME, &mut OnlyAlive(ME)),
                Ok(0),
                "{taken} before"
            );
            let segments: Vec<_> = registry.segments().map(Result::unwrap).collect();
            for segment in segments {
                registry.remove(ME, &segment).unwrap();
            }
            registry
                .open_or_create(ME, &raw(500, registry.free_bytes()))
                .unwrap();
            if let Ended::Finished { stores } = ended {
                assert!(stores == at && at > 5, "{stores} stores");
                return;
            }
        }
    }

    #[test]
    fn a_creator_that_dies_at_any_store_blocks_no_other_and_leaks_nothing() {
        at_each_store(
            |registry| {
                registry.open_or_create(ME, &raw(1, 500)).unwrap();
            },
            |registry, incarnation| {
                let _ = registry.open_or_create(incarnation, &raw(2, 500));
            },
            |registry, _| {
                // Before anything is reaped.
                let segment = registry.open_or_create(ME, &raw(2, 500)).unwrap();
                assert!(registry.is_current(&segment));
                assert_eq!(registry.segments().count(), 2);
            },
        );
    }

    #[test]
    fn a_remover_that_dies_at_any_store_blocks_no_other_and_leaks_nothing() {
        at_each_store(
            |registry| {
                registry.open_or_create(ME, &raw(2, 500)).unwrap();
            },
            |registry, incarnation| {
                let segment = registry.lookup(Id::new(2).unwrap()).unwrap();
                registry.remove(incarnation, &segment).unwrap();
            },
            |registry, _| {
                let segment = registry.open_or_create(ME, &raw(2, 500)).unwrap();
                registry.remove(ME, &segment).unwrap();
                registry.open_or_create(ME, &raw(2, 700)).unwrap();
                assert_eq!(registry.segments().count(), 1);
            },
        );
    }

    #[test]
    fn what_a_reaper_leaves_when_it_dies_at_any_store_is_reaped() {
        at_each_store(
            |registry| {
                let third = Incarnation::first(3);
                registry.open_or_create(third, &raw(1, 500)).unwrap();
                let work = || {
                    let _ = registry.open_or_create(third, &raw(2, 500));
                };
                assert_eq!(crash::run(Some(9), work), Ended::Died);
                assert_eq!(registry.unfinished().count(), 1);
            },
            |registry, incarnation| {
                let _ = registry.reap(incarnation, &mut OnlyAlive(incarnation));
            },
            |registry, _| {
                registry.open_or_create(ME, &raw(3, 500)).unwrap();
            },
        );
    }
}

#[test]
fn reaping_takes_nothing_from_a_partition_that_is_alive() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap, Geometry::default());
    let segment = registry.open_or_create(ME, &raw(1, 100)).unwrap();
    assert_eq!(registry.reap(ME, &mut AssumeAlive), Ok(0));
    assert_eq!(
        registry.reap(Incarnation::first(2), &mut OnlyAlive(Incarnation::first(2))),
        Ok(0)
    );
    assert!(registry.is_current(&segment), "its creator may be gone");
}
