//! Models of the partition slots.
#![cfg(loom)]

use std::sync::Arc;

use loom::thread;
use shmem_core::mem::{Heap, Window};
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::{Incarnation, Region};
use shmem_registry::{Geometry, Process, Registry};

/// Returns a registry of two partitions, and memory after its tables that it does not use.
fn registry() -> (Registry<'static>, Window<'static>) {
    let memory = Heap::leaked(2048).window();
    let geometry = Geometry {
        segments: 2,
        partitions: 2,
        block_size: 128,
    };
    let region = Region::format(memory).unwrap();
    let registry = Registry::format(region, geometry).unwrap();
    (registry, memory.sub(2048 - 128, 128).unwrap())
}

#[test] // Kills: Release in `Attachment::attach`, Acquire in `Partition::read`.
fn a_visible_incarnation_has_its_process() {
    loom::model(|| {
        let (registry, _) = registry();
        let process = Process {
            namespace_id: 1,
            number: 2,
            start: 3,
            image: 4,
        };
        // It is started first, and may see any of the old values.
        let reader = thread::spawn(move || registry.partition(1).unwrap());
        core::mem::forget(registry.attach_partition(1, process).unwrap());
        let seen = reader.join().unwrap();
        if seen.attached {
            assert_eq!(
                (seen.incarnation, seen.process),
                (Some(Incarnation::first(1)), process)
            );
        }
    });
}

#[test] // Kills: the fence in `Attachment::attach`, the fence in `Partition::read`.
fn a_reader_of_a_partitions_word_finds_the_partition_attached() {
    loom::model(|| {
        let (registry, apart) = registry();
        let watcher = thread::spawn(move || {
            // For example the owner of a lock.
            let owner = apart.word(0).load(Relaxed);
            (owner != 0).then(|| registry.partition(1).unwrap().incarnation)
        });
        let attachment = registry.attach_partition(1, Process::UNKNOWN).unwrap();
        apart
            .word(0)
            .store(attachment.incarnation().word(), Relaxed);
        if let Some(found) = watcher.join().unwrap() {
            assert_eq!(
                found,
                Some(Incarnation::first(1)),
                "it appears never to have attached"
            );
        }
        core::mem::forget(attachment);
    });
}

#[test] // Kills: Release in `drop`, Acquire in `read`.
fn a_partition_that_attaches_after_another_left_sees_its_work() {
    for follow in [true, false] {
        loom::model(move || {
            let (registry, apart) = registry();
            let attachment = registry.attach_partition(1, Process::UNKNOWN).unwrap();
            let next = thread::spawn(move || {
                let is_ours = match follow {
                    true => registry
                        .attach_partition(1, Process::UNKNOWN)
                        .map(core::mem::forget)
                        .is_ok(),
                    false => !registry.partition(1).unwrap().attached,
                };
                if is_ours {
                    // Not a control word: access by both at once is a race.
                    apart.write(8, &[2; 8]);
                }
            });
            apart.write(8, &[1; 8]);
            drop(attachment);
            next.join().unwrap();
        });
    }
}

#[test] // Kills: Release in `Attachment::beat`, Acquire in `Attachment::check`.
fn two_threads_of_a_partition_beat_without_eviction() {
    loom::model(|| {
        let (registry, _) = registry();
        let attachment = registry.attach_partition(1, Process::UNKNOWN).unwrap();
        let attachment = Arc::new(attachment);
        let other = Arc::clone(&attachment);
        let thread = thread::spawn(move || other.beat());
        assert_eq!(attachment.beat(), Ok(()));
        assert_eq!(thread.join().unwrap(), Ok(()));
        core::mem::forget(attachment);
    });
}
