//! Partitions that are only slow: what others may do meanwhile, and what a late partition can still
//! do when it continues. A long call is stopped at a beat.
#![cfg(not(loom))]

use std::cell::RefCell;

use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::{Incarnation, Liveness, PartitionState, Region};
use shmem_registry::{
    BlockOwner, Claimant, Evicted, Geometry, Id, Kind, OpenError, Process, Registry, RemoveError,
    Request,
};

const US: Incarnation = Incarnation::first(1);
const SLOW: Incarnation = Incarnation::first(2);

const MIB: usize = 1 << 20;
/// Long enough for its blocks to be freed in many steps.
const LONG: usize = 4 * MIB;

fn registry(heap: &Heap) -> Registry<'_> {
    let region = Region::format(heap.window()).unwrap();
    Registry::format(region, Geometry::default()).unwrap()
}

fn raw(id: u64, len: usize) -> Request {
    Request::new(Id::new(id).unwrap(), Kind::RAW, len).unwrap()
}

/// Reports this state for the slow partition.
struct Reports(PartitionState);

impl Liveness for Reports {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        match incarnation == SLOW {
            true => self.0,
            false => PartitionState::Alive,
        }
    }
}

/// The slow partition. Its call number `at` of `beat` runs `others` before it returns.
struct Stopped<F> {
    at: u32,
    calls: RefCell<(u32, F)>,
}

impl<F: FnMut()> Stopped<F> {
    fn at(at: u32, others: F) -> Self {
        let calls = RefCell::new((0, others));
        Self { at, calls }
    }

    fn was_stopped(&self) -> bool {
        self.calls.borrow().0 > self.at
    }
}

impl<F: FnMut()> Claimant for Stopped<F> {
    fn incarnation(&self) -> Incarnation {
        SLOW
    }

    fn beat(&self) -> Result<(), Evicted> {
        let (calls, others) = &mut *self.calls.borrow_mut();
        if *calls == self.at {
            others();
        }
        *calls += 1;
        Ok(())
    }
}

fn bytes(registry: &Registry<'_>, id: u64) -> Vec<u8> {
    let segment = registry.lookup(Id::new(id).unwrap()).unwrap();
    let mut bytes = vec![0; segment.len()];
    segment.window().read(0, &mut bytes);
    bytes
}

/// Creates a segment of another partition's and fills it.
fn occupy(registry: &Registry<'_>, id: u64, len: usize) {
    let segment = registry.open_or_create(US, &raw(id, len)).unwrap();
    segment.window().write(0, &vec![0xab; len]);
}

#[test]
fn a_silent_creator_loses_nothing_and_others_continue() {
    let heap = Heap::new(4 * LONG);
    let registry = registry(&heap);
    for at in [1, 2, 8] {
        let slow = Stopped::at(at, || {
            let mut silent = Reports(PartitionState::Silent);
            assert_eq!(registry.reap(US, &mut silent), Ok(0));
            // Others can create segments meanwhile.
            occupy(&registry, 9, MIB);
            assert_eq!(registry.reap(US, &mut silent), Ok(0));
        });
        let made = registry.open_or_create(&slow, &raw(7, LONG)).unwrap();
        assert!(slow.was_stopped());
        assert_eq!(made.len(), LONG);
        assert!(bytes(&registry, 7).iter().all(|&byte| byte == 0));
        assert!(bytes(&registry, 9).iter().all(|&byte| byte == 0xab));
        for id in [7, 9] {
            let segment = registry.lookup(Id::new(id).unwrap()).unwrap();
            registry.remove(US, &segment).unwrap();
        }
    }
    assert_eq!(registry.unfinished().count(), 0);
}

#[test]
fn an_evicted_creator_gets_an_error_before_its_next_page_and_stores_nothing_more() {
    let heap = Heap::new(LONG + MIB);
    let registry = registry(&heap);
    let free = registry.free_bytes();
    for at in [1, 2, 8] {
        let slow = Stopped::at(at, || {
            assert_eq!(registry.reap(US, &mut Reports(PartitionState::Gone)), Ok(1));
            occupy(&registry, 7, LONG);
        });
        let made = registry.open_or_create(&slow, &raw(7, LONG));
        assert!(slow.was_stopped());
        assert_eq!(made.err(), Some(OpenError::Evicted));
        assert!(bytes(&registry, 7).iter().all(|&byte| byte == 0xab));
        assert_eq!(registry.unfinished().count(), 0);
        let segment = registry.lookup(Id::new(7).unwrap()).unwrap();
        registry.remove(US, &segment).unwrap();
        assert_eq!(registry.free_bytes(), free);
    }
}

#[test]
fn an_evicted_remover_frees_nothing_of_the_next_segment() {
    let heap = Heap::new(LONG + MIB);
    let registry = registry(&heap);
    let free = registry.free_bytes();
    let segment = registry.open_or_create(US, &raw(7, LONG)).unwrap();
    let slow = Stopped::at(1, || {
        assert_eq!(
            registry.reap(US, &mut Reports(PartitionState::Silent)),
            Ok(0)
        );
        assert_eq!(registry.reap(US, &mut Reports(PartitionState::Gone)), Ok(1));
        occupy(&registry, 9, LONG);
    });
    assert_eq!(registry.remove(&slow, &segment), Err(RemoveError::Evicted));
    assert!(slow.was_stopped());
    assert_eq!(registry.free_bytes(), free - LONG);
    assert!(bytes(&registry, 9).iter().all(|&byte| byte == 0xab));
}

#[test]
fn a_partition_beats_during_a_long_call() {
    let heap = Heap::new(LONG + MIB);
    let registry = registry(&heap);
    let us = registry.attach_partition(1, Process::UNKNOWN).unwrap();
    let beats = || registry.partition(1).unwrap().heartbeat;
    let before = beats();
    let segment = registry.open_or_create(&us, &raw(7, LONG)).unwrap();
    let created = beats();
    assert!(
        created - before >= 32,
        "{} beats in 4 MiB",
        created - before
    );
    registry.remove(&us, &segment).unwrap();
    assert!(beats() > created);
    assert_eq!(us.beat(), Ok(()));
}

#[test]
fn an_evicted_partition_gets_an_error_before_it_changes_anything() {
    let heap = Heap::new(LONG + MIB);
    let registry = registry(&heap);
    let slow = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    let _next = registry
        .attach_after(slow.incarnation(), Process::UNKNOWN)
        .unwrap();
    let made = registry.open_or_create(&slow, &raw(7, LONG));
    assert_eq!(made.err(), Some(OpenError::Evicted));
    occupy(&registry, 7, LONG);
    let segment = registry.lookup(Id::new(7).unwrap()).unwrap();
    assert_eq!(registry.remove(&slow, &segment), Err(RemoveError::Evicted));
    assert!(registry.is_current(&segment));
    let reaped = registry.reap(&slow, &mut Reports(PartitionState::Gone));
    assert_eq!(reaped, Err(RemoveError::Evicted));
}

#[test]
fn blocks_that_an_evicted_creator_claimed_late_are_freed_when_space_runs_out() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let all = registry.free_bytes();
    // Row 0 is used and released: its generation is 1 now.
    let segment = registry.open_or_create(US, &raw(7, 8)).unwrap();
    registry.remove(US, &segment).unwrap();
    let tables = registry.tables();
    let late = 1; // Row 0 in generation 0.
    assert_eq!(
        BlockOwner::from_word(late).map(|owner| (owner.row, owner.generation)),
        Some((0, 0))
    );
    heap.window().word(tables.map + 4 * 5).store(late, Relaxed);
    assert_eq!(registry.free_bytes(), all - 128);
    occupy(&registry, 8, all);
}

#[test]
fn a_late_link_of_an_evicted_creator_ends_its_chain_and_is_replaced() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let segment = registry.open_or_create(US, &raw(7, 8)).unwrap();
    registry.remove(US, &segment).unwrap();
    // A link to row 0 in generation 0, which has ended.
    let bucket = registry.tables().index + 4 * registry.bucket_of(9);
    heap.window().word(bucket).store(1, Relaxed);
    let nine = Id::new(9).unwrap();
    assert_eq!(registry.lookup(nine).err(), Some(OpenError::NotFound));
    let segment = registry.open_or_create(US, &raw(9, 8)).unwrap();
    assert!(registry.is_current(&segment));
    assert_eq!(registry.lookup(nine).unwrap().row(), segment.row());
    registry.remove(US, &segment).unwrap();
    assert_eq!(registry.lookup(nine).err(), Some(OpenError::NotFound));
}

#[test]
fn a_late_link_in_a_removed_row_ends_its_chain_before_the_row_is_unlinked() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let segment = registry.open_or_create(US, &raw(7, 8)).unwrap();
    registry.remove(US, &segment).unwrap();
    let nine = Id::new(9).unwrap();
    let segment = registry.open_or_create(US, &raw(9, 8)).unwrap();
    // Marked by a remover that died, and linked to row 0 in generation 0, which has ended.
    let next = registry.tables().rows + 64 * segment.row() + 8;
    heap.window().word(next).store(1 << 31 | 1, Relaxed);
    assert_eq!(registry.lookup(nine).err(), Some(OpenError::NotFound));
    let segment = registry.open_or_create(US, &raw(9, 8)).unwrap();
    assert_eq!(registry.lookup(nine).unwrap().row(), segment.row());
}

#[test]
fn a_segment_of_another_registry_is_not_current_and_not_removed() {
    let (heap, other) = (Heap::new(1 << 18), Heap::new(1 << 16));
    let geometry = |segments| Geometry {
        segments,
        ..Geometry::default()
    };
    let make = |heap, segments| {
        let region = Region::format(heap).unwrap();
        Registry::format(region, geometry(segments)).unwrap()
    };
    let big = make(heap.window(), 1024);
    let foreign = make(other.window(), 64)
        .open_or_create(US, &raw(1, 8))
        .unwrap();
    let before: Vec<_> = (1..=600)
        .map(|id| big.open_or_create(US, &raw(id, 8)).unwrap())
        .collect();
    assert!(!big.is_current(&foreign));
    assert_eq!(big.remove(US, &foreign), Err(RemoveError::Foreign));
    // The same memory, formatted with fewer rows.
    let small = make(heap.window(), 2);
    for segment in [&before[0], &before[599]] {
        assert!(!small.is_current(segment));
        let error = small.remove(US, segment).unwrap_err();
        assert!(matches!(error, RemoveError::Foreign | RemoveError::Stale));
        assert_eq!(big.remove(US, segment), Err(RemoveError::Reformatted));
    }
    let made = big.open_or_create(US, &raw(5000, 8)).err();
    assert_eq!(made, Some(OpenError::Reformatted));
    let reaped = big.reap(US, &mut Reports(PartitionState::Gone));
    assert_eq!(reaped, Err(RemoveError::Reformatted));
}

#[test]
fn a_circular_chain_is_corrupt_and_listing_walks_it_once() {
    // If each row were looked up from its bucket, listing would take 2^32 steps.
    let geometry = Geometry {
        segments: 1 << 16,
        ..Geometry::default()
    };
    let heap = Heap::new(32 * MIB);
    let region = Region::format(heap.window()).unwrap();
    let registry = Registry::format(region, geometry).unwrap();
    let tables = registry.tables();
    let store = |at, value| heap.window().word(at).store(value, Relaxed);
    let rows = geometry.segments;
    for row in 0..rows {
        let at = tables.rows + 64 * row;
        store(at, Incarnation::first(9).word()); // It has an owner.
        store(at + 4, 1);
        store(at + 8, (row as u32 + 1) % rows as u32 + 1);
        store(at + 16, row as u32 + 1);
    }
    for bucket in 0..tables.buckets {
        store(tables.index + 4 * bucket, 1);
    }
    let found = registry.lookup(Id::new(1 << 40).unwrap()).err();
    assert!(
        matches!(found, Some(OpenError::Corrupt(_) | OpenError::Contended)),
        "{found:?}"
    );
    assert!(registry.segments().all(|found| found.is_err()));
    let made = registry.open_or_create(US, &raw(1 << 40, 8)).err();
    assert!(made.is_some());
}

#[test]
fn a_length_is_rounded_up_when_the_segment_is_created() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let segment = registry.open_or_create(US, &raw(7, 639)).unwrap();
    assert_eq!((segment.len(), segment.window().len()), (640, 640));
    let length = heap.window().word(registry.tables().rows + 28);
    assert_eq!(length.load(Relaxed), 640);
    for len in [633, 640] {
        let same = registry.open(&raw(7, len)).unwrap();
        assert_eq!(same.offset(), segment.offset());
    }
    let other = registry.open(&raw(7, 641)).err();
    assert_eq!(other, Some(OpenError::Length { found: 640 }));
    for broken in [0, 639, 641, u32::MAX] {
        length.store(broken, Relaxed);
        let error = registry.lookup(Id::new(7).unwrap()).err();
        let Some(OpenError::Corrupt(corrupt)) = error else {
            panic!("{broken}: {error:?}");
        };
        assert_eq!((corrupt.word.name(), corrupt.value), ("row length", broken));
    }
}

#[test]
fn a_first_block_out_of_range_is_corrupt() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    registry.open_or_create(US, &raw(7, 256)).unwrap();
    let first = heap.window().word(registry.tables().rows + 24);
    let blocks = registry.tables().blocks as u32;
    for broken in [blocks - 1, blocks, u32::MAX] {
        first.store(broken, Relaxed);
        let error = registry.lookup(Id::new(7).unwrap()).err();
        let Some(OpenError::Corrupt(corrupt)) = error else {
            panic!("{broken}: {error:?}");
        };
        assert_eq!(
            (corrupt.word.name(), corrupt.value),
            ("first block", broken)
        );
    }
}
