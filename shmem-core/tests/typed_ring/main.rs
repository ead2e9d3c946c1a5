//! A ring of records of one type, as its users see it.
#![cfg(all(feature = "alloc", not(loom)))]

mod damage;
mod evicted;
mod queue;
mod restarts;

use shmem_core::mem::Heap;
use shmem_core::typed_ring::{PopError, TypedConsumer, TypedProducer, TypedRing, Unread};
use shmem_core::Life;

const KINDS: [Unread; 2] = [Unread::Keep, Unread::Discard];

fn life(partition: u8, incarnation: u32) -> Life {
    Life::new(partition, incarnation).unwrap()
}

fn heap<T>(slots: usize) -> Heap {
    Heap::new(TypedRing::<T>::segment_len(slots))
}

fn ring<T>(heap: &Heap) -> TypedRing<'_, T> {
    TypedRing::attach(heap.window()).unwrap()
}

/// An incarnation of the monitor that produces; the one before it was killed.
fn producer(heap: &Heap, incarnation: u32) -> TypedProducer<'_, u64> {
    ring(heap).producer(life(1, incarnation)).unwrap()
}

/// An incarnation of the instance that consumes; the one before it was killed.
fn consumer(heap: &Heap, incarnation: u32, unread: Unread) -> TypedConsumer<'_, u64> {
    ring(heap).consumer(life(2, incarnation), unread).unwrap()
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
