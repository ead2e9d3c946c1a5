//! A registry between two partitions whose caches nothing keeps coherent.
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
fn segments_that_one_side_creates_before_the_other_attaches_are_found_by_it() {
    for line in [64, 128] {
        let machine = Machine::new(line, LEN);
        let region = Region::format(machine.window(0)).unwrap();
        let ours = Registry::format(region, Geometry::default()).unwrap();
        let create = |name| {
            ours.open_or_create(Incarnation::first(1), &ring(name))
                .unwrap()
        };
        let (asks, passing) = (create("asks"), create("passing"));
        ours.remove(Incarnation::first(1), &passing).unwrap();
        let tells = create("tells");

        let region = Region::attach(machine.window(1)).unwrap();
        let theirs = Registry::attach(region).unwrap();
        let found = |name| theirs.open(&ring(name));
        assert_eq!(found("passing").err(), Some(OpenError::NotFound));
        let [there, back] = ["asks", "tells"].map(|name| found(name).unwrap());
        assert_eq!(there.offset(), asks.offset());

        let producer = |segment| {
            Ring::attach(segment)
                .unwrap()
                .producer(Incarnation::first(1))
        };
        let consumer = |segment| {
            let ring = Ring::attach(segment).unwrap();
            ring.consumer(Incarnation::first(2), OnRestart::Keep)
        };
        let mut asked = consumer(there.window()).unwrap();
        let mut ask = producer(asks.window()).unwrap();
        let mut heard = consumer(tells.window()).unwrap();
        let mut tell = producer(back.window()).unwrap();
        let mut record = [0; 100];
        for number in 0..200 {
            ask.push(&[number; 100]).unwrap();
            assert_eq!(asked.pop(&mut record), Ok(100));
            tell.push(&record).unwrap();
            assert_eq!(heard.pop(&mut record), Ok(100));
            assert_eq!(record, [number; 100]);
        }
    }
}
