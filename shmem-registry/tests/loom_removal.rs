//! Models of removal: during creation, during a lookup, and by two partitions at once.
#![cfg(loom)]

use loom::thread;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::{Incarnation, Region, Window};
use shmem_core::{Liveness, PartitionState};
use shmem_registry::layout::PARTITIONS;
use shmem_registry::{Geometry, Id, Kind, OpenError, Registry, RemoveError, Request};

const BLOCKS: usize = 2;

/// A registry of two rows, four buckets and two blocks.
fn registry() -> Registry<'static> {
    memory_and_registry(2, BLOCKS).1
}

fn memory_and_registry(segments: usize, blocks: usize) -> (Window<'static>, Registry<'static>) {
    let tables = PARTITIONS + 2 * 128 + segments * (2 * 4 + 64);
    let len = (tables + blocks * 4).next_multiple_of(128) + blocks * 128;
    let memory = Heap::leaked(len).window();
    let region = Region::format(memory).unwrap();
    let geometry = Geometry {
        segments,
        partitions: 2,
        block_size: 128,
    };
    (memory, Registry::format(region, geometry).unwrap())
}

fn request(id: u64, len: usize) -> Request {
    Request::new(Id::new(id).unwrap(), Kind::RAW, len).unwrap()
}

fn incarnation(partition: u8) -> Incarnation {
    Incarnation::first(partition)
}

/// Returns three identifiers of one bucket, for up to eight buckets.
fn neighbours() -> [u64; 3] {
    let bucket = |id: u64| id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61;
    let mut ids = (1..).filter(|&id| bucket(id) == bucket(1));
    [(); 3].map(|()| ids.next().unwrap())
}

/// An identifier of another bucket.
const OTHER_BUCKET: u64 = 2;

/// Asserts that the registry is as empty as after the format.
fn assert_empty(registry: &Registry<'_>) {
    assert_eq!(registry.unfinished().count(), 0);
    assert_eq!(registry.segments().count(), 0);
    assert_eq!(registry.free_bytes(), BLOCKS * 128);
}

#[test] // Kills: either fence(SeqCst).
fn a_segment_removed_while_its_creator_releases_it_is_taken_down() {
    loom::model(|| {
        let registry = registry();
        let peer = thread::spawn(move || {
            registry
                .open_or_create(incarnation(1), &request(7, 8))
                .unwrap();
        });
        let segment = loop {
            match registry.lookup(Id::new(7).unwrap()) {
                Ok(segment) => break segment,
                Err(OpenError::NotFound) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        registry.remove(incarnation(2), &segment).unwrap();
        peer.join().unwrap();
        assert_empty(&registry);
    });
}

/// Models which old values a reader may still load, not when it runs: it is started first, and runs
/// when the writer has finished.
fn old_values() -> loom::model::Builder {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(0);
    model
}

/// The row of `id` is used again for `next` during a lookup of `id`; the new segment has another
/// length. `other` has the other row.
fn a_row_is_used_again_under_a_reader(other: u64, id: u64, next: u64) {
    old_values().check(move || {
        let registry = registry();
        let make = move |id, len| {
            let request = request(id, len);
            registry.open_or_create(incarnation(1), &request).unwrap()
        };
        make(other, 8);
        let segment = make(id, 8);
        let reader = thread::spawn(move || registry.lookup(Id::new(id).unwrap()));
        registry.remove(incarnation(1), &segment).unwrap();
        make(next, 128);
        match reader.join().unwrap() {
            Ok(found) if found.generation() == 1 => assert_eq!((found.len(), id), (128, next)),
            Ok(found) => assert_eq!((found.len(), found.generation()), (8, 0)),
            Err(OpenError::NotFound | OpenError::Contended) => {}
            Err(error) => panic!("{error}"),
        }
    });
}

#[test] // Kills: the fence in `claim_row`, the fence in `generation_matches`, Acquire in `read_node`.
fn a_reader_never_returns_the_next_segment_of_a_row() {
    let [_, first, second] = neighbours();
    a_row_is_used_again_under_a_reader(OTHER_BUCKET, first, second);
}

#[test] // Kills: the fence in `generation_matches`, for `next`.
fn a_reader_that_comes_from_the_previous_row_never_returns_the_next_segment() {
    let [front, first, second] = neighbours();
    a_row_is_used_again_under_a_reader(front, first, second);
}

#[test] // Kills: the fence in `generation_matches`, a result that `segment_fast` does not confirm.
fn a_reader_never_mixes_two_segments_that_one_identifier_names_in_one_row() {
    let [_, first, _] = neighbours();
    a_row_is_used_again_under_a_reader(OTHER_BUCKET, first, first);
}

#[test]
fn a_row_after_an_unlinked_row_is_read_completely() {
    const MARK: u32 = 1 << 31;
    let mut model = old_values();
    model.preemption_bound = Some(1); // Between the check and the walk of the other.
    model.check(|| {
        let (memory, registry) = memory_and_registry(4, 4);
        let [first, second, third] = neighbours();
        let make = move |id, len| {
            let request = request(id, len);
            registry.open_or_create(incarnation(1), &request).unwrap();
        };
        make(first, 8);
        let next = memory.word(PARTITIONS + 2 * 128 + 8 * 4 + 8);
        let reader = thread::spawn(move || registry.lookup(Id::new(second).unwrap()));
        // One partition creates the second row, marks the first, and dies.
        let dying = thread::spawn(move || {
            make(second, 16);
            let link = next.load(Relaxed);
            next.compare_exchange(link, link | MARK, Relaxed, Relaxed)
                .unwrap();
        });
        // Another unlinks the first row during its walk. It has seen everything it loaded before
        // the second row.
        make(third, 8);
        dying.join().unwrap();
        match reader.join().unwrap() {
            Ok(found) => assert_eq!(found.len(), 16),
            Err(OpenError::NotFound | OpenError::Contended) => {}
            Err(error) => panic!("{error}"),
        }
    });
}

#[test]
fn one_of_two_removers_of_a_segment_succeeds() {
    loom::model(|| {
        let registry = registry();
        let segment = registry
            .open_or_create(incarnation(1), &request(7, 8))
            .unwrap();
        let peer = thread::spawn(move || registry.remove(incarnation(1), &segment));
        let mut outcomes = [registry.remove(incarnation(2), &segment), Ok(())];
        outcomes[1] = peer.join().unwrap();
        outcomes.sort_by_key(Result::is_ok);
        assert_eq!(outcomes, [Err(RemoveError::Stale), Ok(())]);
        assert_empty(&registry);
    });
}

#[test]
fn two_neighbours_removed_at_once_both_leave_the_chain() {
    let mut model = loom::model::Builder::new();
    model.max_branches = 20_000; // A walk may start again many times.
    model.check(|| {
        let registry = registry();
        let [first, second, _] = neighbours();
        let make = |id| {
            registry
                .open_or_create(incarnation(1), &request(id, 8))
                .unwrap()
        };
        let (front, next) = (make(first), make(second));
        let peer = thread::spawn(move || registry.remove(incarnation(1), &front).unwrap());
        registry.remove(incarnation(2), &next).unwrap();
        peer.join().unwrap();
        assert_empty(&registry);
    });
}

#[test] // Kills: Release in `insert`, the fence in `is_stale_link`.
fn two_creators_in_one_chain_both_stay_in_it() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.max_branches = 20_000; // A walk may start again many times.
    model.check(|| {
        let registry = registry();
        let [first, second, _] = neighbours();
        let make = move |by, id| {
            let made = registry.open_or_create(incarnation(by), &request(id, 8));
            made.map(|segment| segment.id().get())
        };
        let peer = thread::spawn(move || make(1, first));
        let ours = make(2, second);
        let theirs = peer.join().unwrap();
        for made in [ours, theirs].into_iter().flatten() {
            assert!(registry.lookup(Id::new(made).unwrap()).is_ok(), "lost");
        }
        assert!(ours.is_ok() || theirs.is_ok());
    });
}

#[test]
fn a_row_after_an_unlinked_row_is_not_lost_when_another_is_linked() {
    let mut model = old_values();
    model.max_branches = 20_000; // A walk may start again many times.
    model.check(|| {
        let (_, registry) = memory_and_registry(4, 4);
        let [first, second, third] = neighbours();
        let make = move |id| registry.open_or_create(incarnation(1), &request(id, 8));
        let front = make(first).unwrap();
        let other = thread::spawn(move || make(third).is_ok());
        make(second).unwrap();
        registry.remove(incarnation(1), &front).unwrap();
        let others = other.join().unwrap();
        let exists = |id| registry.lookup(Id::new(id).unwrap()).is_ok();
        assert!(exists(second), "lost when the third was linked");
        assert!(!others || exists(third));
    });
}

#[test]
fn the_next_owner_of_the_blocks_uses_them_after_the_remover() {
    let mut model = loom::model::Builder::new();
    model.max_branches = 20_000;
    model.preemption_bound = Some(2);
    model.check(|| {
        let (_, registry) = memory_and_registry(2, 1);
        let creator = thread::spawn(move || {
            registry
                .open_or_create(incarnation(1), &request(7, 8))
                .unwrap();
            // Zeroes the same block, if it is free by now.
            let _ = registry.open_or_create(incarnation(1), &request(9, 8));
        });
        let segment = loop {
            match registry.lookup(Id::new(7).unwrap()) {
                Ok(segment) => break segment,
                Err(OpenError::NotFound) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        segment.window().write(0, &[1; 8]);
        registry.remove(incarnation(2), &segment).unwrap();
        creator.join().unwrap();
    });
}

#[test] // Kills: Release in `change_state`.
fn a_row_that_is_used_again_hides_no_row_after_it() {
    let mut model = old_values();
    model.max_branches = 20_000; // A walk may start again many times.
    model.check(|| {
        let registry = registry();
        let [first, second, _] = neighbours();
        let make = move |id| {
            registry
                .open_or_create(incarnation(1), &request(id, 8))
                .unwrap()
        };
        let front = make(first);
        make(second);
        let reader = thread::spawn(move || registry.lookup(Id::new(second).unwrap()).map(drop));
        registry.remove(incarnation(1), &front).unwrap();
        make(OTHER_BUCKET);
        let found = reader.join().unwrap();
        assert!(
            matches!(found, Ok(()) | Err(OpenError::Contended)),
            "{found:?}"
        );
    });
}

#[test] // Kills: the fence in `remove`.
fn a_late_remover_does_not_remove_the_next_segment_of_the_row() {
    old_values().check(|| {
        let registry = registry();
        let make = move |id| {
            registry
                .open_or_create(incarnation(1), &request(id, 8))
                .unwrap()
        };
        let segment = make(1);
        make(OTHER_BUCKET);
        let late = thread::spawn(move || registry.remove(incarnation(2), &segment));
        let ours = registry.remove(incarnation(1), &segment);
        let next = registry.open_or_create(incarnation(1), &request(OTHER_BUCKET + 1, 8));
        let theirs = late.join().unwrap();
        assert_ne!(ours.is_ok(), theirs.is_ok());
        if let Ok(next) = next {
            assert!(registry.is_current(&next), "taken down by the late remover");
        }
    });
}

#[test] // Kills: the fence in `is_current`.
fn a_removed_segment_is_not_current() {
    const MARK: u32 = 1 << 31;
    old_values().check(|| {
        let (memory, registry) = memory_and_registry(2, BLOCKS);
        let make = move |id| registry.open_or_create(incarnation(1), &request(id, 8));
        let segment = make(1).unwrap();
        make(OTHER_BUCKET).unwrap();
        // Its remover dies before it takes the row down.
        let next = memory.word(PARTITIONS + 2 * 128 + 2 * 2 * 4 + 8);
        let link = next.load(Relaxed);
        next.compare_exchange(link, link | MARK, Relaxed, Relaxed)
            .unwrap();
        let checker = thread::spawn(move || registry.is_current(&segment));
        registry.reap(incarnation(1), &mut NineIsDead).unwrap();
        make(OTHER_BUCKET + 1).unwrap();
        assert!(!checker.join().unwrap());
    });
}

#[test] // Partition 9 runs but is reported as gone. Kills: the fences in `insert` and `reap`.
fn an_evicted_creator_gets_an_error_or_its_segment_stays() {
    loom::model(|| {
        let registry = registry();
        let creator =
            thread::spawn(move || registry.open_or_create(incarnation(9), &request(7, 8)));
        let mut reaped = Ok(0);
        for _ in 0..2 {
            reaped = registry.reap(incarnation(1), &mut NineIsDead);
            if reaped != Ok(0) {
                break;
            }
            thread::yield_now();
        }
        let made = creator.join().unwrap();
        // Takes down what the two left half-done.
        registry.reap(incarnation(1), &mut NineIsDead).unwrap();
        match made {
            Ok(segment) => assert!(registry.is_current(&segment), "reaped: {reaped:?}"),
            Err(OpenError::Evicted) => {}
            Err(error) => panic!("{error}"),
        }
        // The chain is complete, and no space is lost.
        let again = registry
            .open_or_create(incarnation(1), &request(7, 8))
            .unwrap();
        registry.remove(incarnation(1), &again).unwrap();
        registry
            .open_or_create(incarnation(1), &request(7, BLOCKS * 128))
            .unwrap();
    });
}

/// Reports partition 9 as gone.
struct NineIsDead;

impl Liveness for NineIsDead {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        PartitionState::from_is_gone(incarnation == Incarnation::first(9))
    }
}

#[test] // Takeover from a dead owner.
fn the_row_of_a_dead_creator_is_reaped_once() {
    loom::model(|| {
        let (memory, registry) = memory_and_registry(2, BLOCKS);
        // It died while it owned a row and one block.
        let rows = PARTITIONS + 2 * 128 + 2 * 2 * 4;
        let map = rows + 2 * 64;
        let dead = incarnation(9).word();
        memory.word(rows).store(dead, Relaxed);
        memory.word(map).store(1, Relaxed); // Row 0 in generation 0.
        let reap = move |by| loop {
            match registry.reap(incarnation(by), &mut NineIsDead) {
                Ok(count) => break count,
                Err(_) => thread::yield_now(),
            }
        };
        let peer = thread::spawn(move || reap(1));
        let ours = reap(2);
        let theirs = peer.join().unwrap();
        assert_eq!(ours + theirs, 1);
        assert_empty(&registry);
    });
}
