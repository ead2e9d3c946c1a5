//! A ring of records of one type, as its users see it.
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

/// An incarnation of the monitor that produces; the one before it was killed.
fn producer(heap: &Heap, number: u32) -> TypedProducer<'_, u64> {
    ring(heap).producer(incarnation(1, number)).unwrap()
}

/// An incarnation of the instance that consumes; the one before it was killed.
fn consumer(heap: &Heap, number: u32, unread: OnRestart) -> TypedConsumer<'_, u64> {
    ring(heap).consumer(incarnation(2, number), unread).unwrap()
}

fn kill<T>(end: T) {
    core::mem::forget(end);
}

/// All that is said until the ring is empty; a restart is 0.
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
