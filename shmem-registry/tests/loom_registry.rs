//! Models of creation: partitions that race for one identifier get one complete segment.
#![cfg(loom)]

use loom::thread;
use shmem_core::mem::Heap;
use shmem_core::{Incarnation, Region};
use shmem_registry::{Geometry, Id, Kind, OpenError, Registry, Request};

/// Returns a registry with this number of rows and blocks.
fn registry(segments: usize, blocks: usize) -> Registry<'static> {
    let tables = 256 + 2 * 128 + segments * (2 * 4 + 64);
    let len = (tables + blocks * 4).next_multiple_of(128) + blocks * 128;
    let memory = Heap::leaked(len).window();
    let region = Region::format(memory).unwrap();
    let geometry = Geometry {
        segments,
        partitions: 2,
        block_size: 128,
    };
    Registry::format(region, geometry).unwrap()
}

fn request(id: u64) -> Request {
    Request::new(Id::new(id).unwrap(), Kind::RAW, 8).unwrap()
}

#[test] // Kills: Release of the exchange in `insert`.
fn a_segment_that_is_found_is_complete() {
    loom::model(|| {
        let registry = registry(2, 2);
        let peer = thread::spawn(move || {
            registry
                .open_or_create(Incarnation::first(1), &request(7))
                .unwrap();
        });
        let segment = loop {
            match registry.lookup(Id::new(7).unwrap()) {
                Ok(segment) => break segment,
                Err(OpenError::NotFound) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!((segment.len(), segment.kind()), (8, Kind::RAW));
        let mut zero = [1; 8];
        segment.window().read(0, &mut zero);
        assert_eq!(zero, [0; 8]);
        peer.join().unwrap();
    });
}

/// One creator loses and releases what the other then needs for a second segment.
fn a_loser_releases(segments: usize, blocks: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(1); // More take minutes and show nothing more.
    model.max_branches = 20_000; // It waits until the other releases.
    model.check(move || {
        let registry = registry(segments, blocks);
        let peer = thread::spawn(move || {
            match registry.open_or_create(Incarnation::first(1), &request(7)) {
                // Contended while the other has the rest.
                Ok(_) | Err(OpenError::Contended) => {}
                Err(error) => panic!("{error}"),
            }
        });
        registry
            .open_or_create(Incarnation::first(2), &request(7))
            .unwrap();
        let half = Request::new(Id::new(9).unwrap(), Kind::RAW, blocks / 2 * 128).unwrap();
        loop {
            match registry.open_or_create(Incarnation::first(2), &half) {
                Ok(segment) => break segment.window().write(0, &[1; 8]),
                Err(OpenError::Contended) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        peer.join().unwrap();
        assert_eq!(registry.segments().count(), 2);
        assert_eq!(registry.free_bytes(), (blocks / 2 - 1) * 128);
    });
}

#[test] // Kills: Release in `free`, Acquire of the exchange in `claim`.
fn a_released_block_is_no_longer_used() {
    a_loser_releases(4, 2);
}

#[test] // Kills: Release in `clear_owner`, Acquire of the exchange in `acquire_row`.
fn a_released_row_is_no_longer_used() {
    a_loser_releases(2, 4);
}

#[test]
fn two_creators_of_one_identifier_get_one_segment_and_leak_nothing() {
    loom::model(|| {
        let registry = registry(2, 2);
        let before = registry.free_bytes();
        let create = move |by| {
            let segment = registry
                .open_or_create(Incarnation::first(by), &request(7))
                .unwrap();
            segment.offset()
        };
        let peer = thread::spawn(move || create(1));
        let offset = create(2);
        assert_eq!(peer.join().unwrap(), offset);
        assert_eq!(registry.segments().count(), 1);
        assert_eq!(registry.free_bytes(), before - 128);
    });
}

#[test]
fn two_creators_of_one_identifier_with_space_for_one_both_get_it() {
    loom::model(|| {
        let registry = registry(2, 1);
        let create = move |by| loop {
            match registry.open_or_create(Incarnation::first(by), &request(7)) {
                Ok(segment) => break segment.offset(),
                Err(OpenError::Contended) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        let peer = thread::spawn(move || create(1));
        let offset = create(2);
        assert_eq!(peer.join().unwrap(), offset);
    });
}

#[test]
fn two_creators_of_two_identifiers_get_two_segments() {
    loom::model(|| {
        let registry = registry(2, 2);
        let create = move |by| {
            let segment = registry
                .open_or_create(Incarnation::first(by), &request(by.into()))
                .unwrap();
            segment.window().write(0, &[by; 8]);
            segment.offset()
        };
        let peer = thread::spawn(move || create(1));
        let offset = create(2);
        assert_ne!(peer.join().unwrap(), offset);
        assert_eq!(registry.segments().count(), 2);
    });
}

#[test] // Kills: Acquire of `state` in `listed`.
fn a_row_that_is_not_linked_is_not_listed() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(1);
    model.check(|| {
        let registry = registry(2, 2);
        let create = move |by| {
            registry
                .open_or_create(Incarnation::first(by), &request(7))
                .unwrap();
        };
        let one = thread::spawn(move || create(1));
        let lister = thread::spawn(move || registry.segments().filter(Result::is_ok).count());
        create(2);
        one.join().unwrap();
        assert!(
            lister.join().unwrap() <= 1,
            "one identifier was listed twice"
        );
    });
}
