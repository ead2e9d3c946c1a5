//! What a registry guarantees to the partitions that share it.
#![cfg(not(loom))]

use std::collections::HashMap;
use std::thread;

use proptest::prelude::*;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::{Incarnation, Region};
use shmem_registry::{
    Geometry, Id, Kind, OpenError, Registry, RegistryError, RemoveError, Request,
};
use shmem_sync::AssumeAlive;

fn registry(heap: &Heap, geometry: Geometry) -> Registry<'_> {
    let region = Region::format(heap.window()).unwrap();
    Registry::format(region, geometry).unwrap()
}

fn id(value: u64) -> Id {
    Id::new(value).unwrap()
}

fn raw(value: u64, len: usize) -> Request {
    Request::new(id(value), Kind::RAW, len).unwrap()
}

#[test]
fn the_first_use_inserts_a_row_and_later_uses_return_the_same_segment() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap, Geometry::default());
    let request = Request::named("kmon.command", Kind::RING, 1536).unwrap();
    assert_eq!(registry.open(&request).err(), Some(OpenError::NotFound));
    let first = registry
        .open_or_create(Incarnation::first(1), &request)
        .unwrap();
    first.window().write(0, b"written before the second use");
    let second = registry
        .open_or_create(Incarnation::first(2), &request)
        .unwrap();
    assert_eq!(first.offset(), second.offset());
    assert_eq!((second.len(), second.kind()), (1536, Kind::RING));
    assert_eq!(second.name().as_str(), "kmon.command");
    let mut read = [0; 7];
    second.window().read(0, &mut read);
    assert_eq!(&read, b"written");
}

#[test]
fn another_kind_length_or_name_returns_its_own_error() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap, Geometry::default());
    let make = |name, kind, len| Request::named(name, kind, len).unwrap();
    registry
        .open_or_create(Incarnation::first(1), &make("a", Kind::RING, 576))
        .unwrap();
    let error = |request| {
        registry
            .open_or_create(Incarnation::first(1), &request)
            .err()
            .unwrap()
    };
    let kind = error(make("a", Kind::SNAPSHOT, 576));
    assert_eq!(kind, OpenError::Kind { found: Kind::RING });
    let length = error(make("a", Kind::RING, 640));
    assert_eq!(length, OpenError::Length { found: 576 });
    // Forces a collision: the row of the identifier gets another name.
    let window = heap.window();
    let at = (0..heap.window().len())
        .step_by(8)
        .find(|&at| {
            let mut bytes = [0; 8];
            window.read(at, &mut bytes);
            bytes == *b"a\0\0\0\0\0\0\0"
        })
        .unwrap();
    window.write(at, b"b");
    let collision = error(make("a", Kind::RING, 576));
    assert!(matches!(collision, OpenError::Collision { found } if found.as_str() == "b"));
}

#[test]
fn a_full_table_is_an_error_and_leaves_the_region_unchanged() {
    let heap = Heap::new(1 << 16);
    let geometry = Geometry {
        segments: 8,
        ..Geometry::default()
    };
    let registry = registry(&heap, geometry);
    for n in 1..=8 {
        registry
            .open_or_create(Incarnation::first(1), &raw(n, 100))
            .unwrap();
    }
    let free = registry.free_bytes();
    let error = registry
        .open_or_create(Incarnation::first(1), &raw(9, 100))
        .err();
    assert_eq!(error, Some(OpenError::TableFull { segments: 8 }));
    assert_eq!(registry.free_bytes(), free);
    assert_eq!(registry.segments().count(), 8);
    for n in 1..=8 {
        assert!(registry.lookup(id(n)).is_ok());
    }
    assert_eq!(registry.lookup(id(9)).err(), Some(OpenError::NotFound));
}

#[test]
fn no_space_is_an_error_and_leaves_the_region_unchanged() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap, Geometry::default());
    let free = registry.free_bytes();
    let error = registry
        .open_or_create(Incarnation::first(1), &raw(1, free + 1))
        .err();
    assert_eq!(error, Some(OpenError::OutOfSpace { len: free + 8 }));
    assert_eq!(registry.free_bytes(), free);
    assert_eq!(registry.segments().count(), 0);
    registry
        .open_or_create(Incarnation::first(1), &raw(2, free))
        .unwrap();
    assert_eq!(registry.free_bytes(), 0);
}

#[test]
fn a_segment_is_zero_and_aligned_as_requested() {
    let heap = Heap::new(1 << 18);
    let window = heap.window();
    let registry = registry(&heap, Geometry::default());
    // The earlier contents of the memory must not be visible.
    for at in (100_000..window.len() - 8).step_by(8) {
        window.write(at / 8 * 8, &[0xff; 8]);
    }
    for (n, align) in [(1, 128), (2, 4096), (3, 1), (4, 65_536)] {
        let request = raw(n, 5000).aligned(align).unwrap();
        let segment = registry
            .open_or_create(Incarnation::first(1), &request)
            .unwrap();
        assert_eq!(segment.offset() % align, 0);
        let mut bytes = vec![1; 5000];
        segment.window().read(0, &mut bytes);
        assert!(bytes.iter().all(|&byte| byte == 0));
    }
}

#[test]
fn sixty_four_thousand_segments_are_created_found_and_listed() {
    let count = 1 << 16;
    let geometry = Geometry {
        segments: count,
        partitions: 64,
        block_size: 128,
    };
    let heap = Heap::new(24 << 20);
    let registry = registry(&heap, geometry);
    for n in 1..=count as u64 {
        let segment = registry
            .open_or_create(Incarnation::first(1), &raw(n * n, 64))
            .unwrap();
        segment.window().write(0, &n.to_le_bytes());
    }
    for n in 1..=count as u64 {
        let mut bytes = [0; 8];
        let segment = registry.lookup(id(n * n)).unwrap();
        segment.window().read(0, &mut bytes);
        assert_eq!(u64::from_le_bytes(bytes), n);
    }
    assert_eq!(registry.segments().count(), count);
    assert_eq!(registry.lookup(id(3)).err(), Some(OpenError::NotFound));
}

#[test]
fn racing_partitions_get_one_segment_for_each_identifier() {
    let heap = Heap::new(1 << 18);
    let registry = registry(&heap, Geometry::default());
    let free = registry.free_bytes();
    let offsets: Vec<Vec<usize>> = thread::scope(|scope| {
        let racer = |by| {
            move || {
                let open = |n| {
                    registry
                        .open_or_create(Incarnation::first(by), &raw(n, 1000))
                        .unwrap()
                };
                (1..=60).map(|n| open(n).offset()).collect()
            }
        };
        let racers: Vec<_> = (1..=4).map(|by| scope.spawn(racer(by))).collect();
        racers
            .into_iter()
            .map(|racer| racer.join().unwrap())
            .collect()
    });
    assert!(offsets.iter().all(|other| *other == offsets[0]));
    let mut distinct = offsets[0].clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 60);
    assert_eq!(registry.free_bytes(), free - 60 * 1024);
    assert_eq!(registry.segments().count(), 60);
}

#[test]
fn a_missing_registry_a_short_region_and_a_wrong_geometry_are_reported() {
    let heap = Heap::new(4096);
    let region = Region::format(heap.window()).unwrap();
    assert_eq!(
        Registry::attach(region).err(),
        Some(RegistryError::NotFormatted)
    );
    let error = Registry::format(region, Geometry::default()).err();
    assert!(matches!(
        error,
        Some(RegistryError::TooShort { len: 4096, .. })
    ));
    assert_eq!(
        Registry::attach(region).err(),
        Some(RegistryError::NotFormatted)
    );
    let heap = Heap::new(1 << 16);
    let region = Region::format(heap.window()).unwrap();
    Registry::format(region, Geometry::default()).unwrap();
    let again = Registry::format(region, Geometry::default()).err();
    assert_eq!(again, Some(RegistryError::Exists));
    let odd = Geometry {
        segments: 3,
        ..Geometry::default()
    };
    assert_eq!(
        Registry::format(region, odd).err(),
        Some(RegistryError::Geometry)
    );
}

#[test]
fn a_table_of_random_words_causes_no_panic() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap, Geometry::default());
    for n in 1..=30 {
        registry
            .open_or_create(Incarnation::first(1), &raw(n, 256))
            .unwrap();
    }
    let window = heap.window();
    let mut state = 1_u32;
    for at in (256..32_768).step_by(4) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        window.word(at).store(state, Relaxed);
    }
    for n in 1..=60 {
        if let Ok(segment) = registry.lookup(id(n)) {
            segment.window().write(0, &[0; 8]);
        }
        if let Ok(segment) = registry.open_or_create(Incarnation::first(1), &raw(n, 256)) {
            let _ = registry.remove(Incarnation::first(1), &segment);
        }
    }
    let _ = registry.segments().count();
    let _ = registry.reap(Incarnation::first(2), &mut AssumeAlive);
    let _ = registry.unfinished().count();
}

proptest! {
    #[test]
    fn a_registry_is_a_map_whose_segments_never_overlap(
        requests in proptest::collection::vec((1..40_u64, 1..5000_usize, 0..13_u32), 1..120),
    ) {
        let heap = Heap::new(1 << 17);
        let registry = registry(&heap, Geometry { segments: 32, ..Geometry::default() });
        let mut known: HashMap<u64, (usize, usize)> = HashMap::new();
        for (value, len, align) in requests {
            let request = raw(value, len).aligned(1 << align).unwrap();
            match (registry.open_or_create(Incarnation::first(1), &request), known.get(&value)) {
                (Ok(segment), Some(&(offset, known_len))) => {
                    prop_assert_eq!((segment.offset(), segment.len()), (offset, known_len));
                }
                (Ok(segment), None) => {
                    let (start, end) = (segment.offset(), segment.offset() + len);
                    prop_assert!(end <= heap.window().len());
                    for (&other, &(offset, other_len)) in &known {
                        let apart = end <= offset || offset + other_len <= start;
                        prop_assert!(apart, "{value} overlaps {other}");
                    }
                    known.insert(value, (start, len.next_multiple_of(8)));
                }
                (Err(OpenError::Length { found }), Some(&(_, known_len))) => {
                    prop_assert_eq!(found, known_len);
                }
                (Err(OpenError::TableFull { .. }), None) => prop_assert_eq!(known.len(), 32),
                (Err(OpenError::OutOfSpace { len: asked }), None) => {
                    prop_assert_eq!(asked, len.next_multiple_of(8));
                }
                (Err(error), _) => prop_assert!(false, "{error}"),
            }
        }
        prop_assert_eq!(registry.segments().count(), known.len());
    }
}

#[test]
fn a_handle_without_read_modify_write_opens_segments_and_changes_nothing() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap, Geometry::default());
    let segment = registry
        .open_or_create(Incarnation::first(1), &raw(1, 100))
        .unwrap();
    let handle = registry.without_read_modify_write();
    let free = handle.free_bytes();
    let found = handle
        .open_or_create(Incarnation::first(2), &raw(1, 100))
        .unwrap();
    assert_eq!(found.offset(), segment.offset());
    let created = handle.open_or_create(Incarnation::first(2), &raw(2, 100));
    assert_eq!(created.err(), Some(OpenError::NoReadModifyWrite));
    let removed = handle.remove(Incarnation::first(2), &segment);
    assert_eq!(removed, Err(RemoveError::NoReadModifyWrite));
    let reaped = handle.reap(Incarnation::first(2), &mut AssumeAlive);
    assert_eq!(reaped, Err(RemoveError::NoReadModifyWrite));
    assert_eq!(handle.free_bytes(), free);
    assert_eq!(
        handle.lookup(id(1)).map(|found| found.row()),
        Ok(segment.row())
    );
    // The other handle still works.
    assert_eq!(registry.remove(Incarnation::first(1), &segment), Ok(()));
}
