//! Models of waiting: no wake-up is lost, even without a re-check.
#![cfg(loom)]

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use shmem_core::doorbell::Doorbell;
use shmem_core::mem::Heap;
use shmem_core::primitive::AtomicU32;
use shmem_core::ring::{OnRestart, Ring};
use shmem_core::wait::{Pause, Wait};
use shmem_core::Incarnation;

/// The kernel's sleep: it checks the word and sleeps in one step. There
/// is no time-out, so a lost wake-up is a deadlock, which loom reports.
#[derive(Clone)]
struct Kernel(Arc<(Mutex<()>, Condvar)>);

impl Kernel {
    fn new() -> Self {
        Self(Arc::new((Mutex::new(()), Condvar::new())))
    }
}

impl Wait for Kernel {
    fn pause(&mut self) -> Pause {
        Pause::Sleep
    }

    fn sleep(&mut self, ring_count: &AtomicU32, seen: u32) {
        let mut guard = self.0 .0.lock().unwrap();
        while ring_count.load(core::sync::atomic::Ordering::Relaxed) == seen {
            guard = self.0 .1.wait(guard).unwrap();
        }
    }
}

impl Doorbell for Kernel {
    fn ring(&self, _: &AtomicU32) {
        drop(self.0 .0.lock().unwrap());
        self.0 .1.notify_all();
    }
}

#[test] // Kills: either fence(SeqCst).
fn a_consumer_that_falls_asleep_is_woken_by_the_record_it_missed() {
    loom::model(|| {
        let ring = Ring::attach(Heap::leaked(Ring::segment_len(64)).window()).unwrap();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        let kernel = Kernel::new();
        let bell = kernel.clone();
        let peer = thread::spawn(move || {
            producer.push(b"x").unwrap();
            producer.notify(&bell).unwrap();
        });
        assert!(consumer.wait(&mut kernel.clone()));
        assert_eq!(consumer.pop(&mut [0; 8]), Ok(1));
        peer.join().unwrap();
    });
}

#[test] // Kills: either fence(SeqCst), for the producer's wait.
fn a_producer_that_falls_asleep_is_woken_by_the_space_it_missed() {
    loom::model(|| {
        let ring = Ring::attach(Heap::leaked(Ring::segment_len(64)).window()).unwrap();
        let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        for _ in 0..3 {
            producer.push(&[0; 8]).unwrap();
        }
        let kernel = Kernel::new();
        let bell = kernel.clone();
        let peer = thread::spawn(move || {
            consumer.pop(&mut [0; 8]).unwrap();
            consumer.notify(&bell).unwrap();
        });
        assert_eq!(producer.wait_for_space(8, &mut kernel.clone()), Ok(true));
        producer.push(&[1; 8]).unwrap();
        peer.join().unwrap();
    });
}
