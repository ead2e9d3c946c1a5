//! The guarantees of a typed ring to its two ends.
#![cfg(all(feature = "alloc", not(loom)))]

mod damage;
mod evicted;
mod queue;
mod restarts;

use shmem_core::mem::Heap;
use shmem_core::typed_ring::{OnRestart, PopError, TypedConsumer, TypedProducer, TypedRing};
use shmem_core::Incarnation;

const KINDS: [OnRestart; 2] = [OnRestart::Keep, OnRestart::Discard];

fn incarnation(partition: u8, number: u32) -> Incarnation {
    Incarnation::new(partition, number).unwrap()
}

fn heap<T>(slots: usize) -> Heap {
    Heap::new(TypedRing::<T>::segment_len(slots))
}

fn ring<T>(heap: &Heap) -> TypedRing<'_, T> {
    TypedRing::attach(heap.window()).unwrap()
}

/// Claims the producing end for incarnation `number` of partition 1.
fn producer(heap: &Heap, number: u32) -> TypedProducer<'_, u64> {
    ring(heap).claim_producer(incarnation(1, number)).unwrap()
}

/// Claims the consuming end for incarnation `number` of partition 2.
fn consumer(heap: &Heap, number: u32, on_restart: OnRestart) -> TypedConsumer<'_, u64> {
    ring(heap)
        .claim_consumer(incarnation(2, number), on_restart)
        .unwrap()
}

/// Ends an incarnation without running its destructor.
fn kill<T>(end: T) {
    core::mem::forget(end);
}

/// Pops until the ring is empty. Returns all records; a restart is 0.
fn drain(consumer: &mut TypedConsumer<'_, u64>) -> Vec<u64> {
    let mut found = Vec::new();
    loop {
        match consumer.pop() {
            Ok(value) => found.push(value),
            Err(PopError::Restarted) => found.push(0),
            Err(PopError::Empty) => return found,
            Err(error) => panic!("{error}"),
        }
    }
}
