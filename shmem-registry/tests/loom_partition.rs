//! Models of the partition slots.
#![cfg(loom)]

use loom::thread;
use shmem_core::mem::Heap;
use shmem_core::{Life, Region};
use shmem_registry::{Geometry, Process, Registry};

#[test] // Kills: Release in `Presence::attach`, Acquire in `Partition::look`.
fn a_life_that_is_seen_has_its_process() {
    loom::model(|| {
        let memory = Heap::leaked(2048).window();
        let geometry = Geometry {
            segments: 2,
            partitions: 2,
            block: 128,
        };
        let region = Region::format(memory, 0).unwrap();
        let registry = Registry::format(region, geometry).unwrap();
        let process = Process {
            space: 1,
            number: 2,
            start: 3,
        };
        // It starts first, and may see any of the old values.
        let reader = thread::spawn(move || registry.partition(1).unwrap());
        core::mem::forget(registry.attach_partition(1, process).unwrap());
        let seen = reader.join().unwrap();
        if seen.attached {
            assert_eq!((seen.life, seen.process), (Some(Life::first(1)), process));
        }
    });
}
