//! A registry that two partitions share whose caches are not coherent.
#![cfg(all(feature = "noncoherent", not(loom)))]

#[path = "../../shmem-core/tests/caches/mod.rs"]
mod caches;

use caches::Machine;
use shmem_core::ring::{OnRestart, Ring};
use shmem_core::{Incarnation, Region};
use shmem_registry::{Geometry, Kind, OpenError, Registry, Request};

const LEN: usize = 64 << 10;

fn ring(name: &str) -> Request {
    Request::named(name, Kind::RING, Ring::segment_len(1024)).unwrap()
}

#[test]
fn a_partition_finds_the_segments_created_before_it_attached() {
    for line in [64, 128] {
        let machine = Machine::new(line, LEN);
        let region = Region::format(machine.window(0)).unwrap();
        let ours = Registry::format(region, Geometry::default()).unwrap();
        let create = |name| {
            ours.open_or_create(Incarnation::first(1), &ring(name))
                .unwrap()
        };
        let (requests, removed) = (create("requests"), create("removed"));
        ours.remove(Incarnation::first(1), &removed).unwrap();
        let replies = create("replies");

        let region = Region::attach(machine.window(1)).unwrap();
        let theirs = Registry::attach(region).unwrap();
        let found = |name| theirs.open(&ring(name));
        assert_eq!(found("removed").err(), Some(OpenError::NotFound));
        let [their_requests, their_replies] =
            ["requests", "replies"].map(|name| found(name).unwrap());
        assert_eq!(their_requests.offset(), requests.offset());

        let producer = |segment| {
            Ring::attach(segment)
                .unwrap()
                .claim_producer(Incarnation::first(1))
        };
        let consumer = |segment| {
            let ring = Ring::attach(segment).unwrap();
            ring.claim_consumer(Incarnation::first(2), OnRestart::Keep)
        };
        let mut server_in = consumer(their_requests.window()).unwrap();
        let mut client_out = producer(requests.window()).unwrap();
        let mut client_in = consumer(replies.window()).unwrap();
        let mut server_out = producer(their_replies.window()).unwrap();
        let mut record = [0; 100];
        for number in 0..200 {
            client_out.push(&[number; 100]).unwrap();
            assert_eq!(server_in.pop(&mut record), Ok(100));
            server_out.push(&record).unwrap();
            assert_eq!(client_in.pop(&mut record), Ok(100));
            assert_eq!(record, [number; 100]);
        }
    }
}
