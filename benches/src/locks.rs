//! Locks: acquired and released by one thread, and by two that contend.
//!
//! Inside, each thread increments a count on a separate line, in two steps; at the end a check
//! shows that no increment was lost. A long wait sleeps in the kernel; `SPINS` is how often our
//! locks check before that.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use shmem_core::{Incarnation, Mapping, Window};
use shmem_sync::{AssumeAlive, Futex, FutexBell};

use crate::pthread;
use crate::race::{pin, race};

/// One user's handle to a lock.
pub trait Lock: Sized + Send {
    /// Returns two handles to one new lock, which exists for the rest of the run.
    fn pair() -> [Self; 2];

    /// Acquires the lock, calls `inside`, and releases it.
    fn enter(&self, inside: impl FnOnce());
}

/// One thread enters `count` times.
pub fn alone<L: Lock>(count: u64) -> Duration {
    let ([lock, _], inside) = (L::pair(), Count::default());
    pin(0);
    let start = Instant::now();
    for _ in 0..count {
        lock.enter(|| inside.add_one());
    }
    let time = start.elapsed();
    inside.check(count);
    time
}

/// Two threads enter `count` times in total.
pub fn contended<L: Lock>(count: u64) -> Duration {
    let ([here, there], inside) = (L::pair(), Count::default());
    let half = count.div_ceil(2);
    let enter_half = |lock: L| {
        for _ in 0..half {
            lock.enter(|| inside.add_one());
        }
    };
    let time = race(|| enter_half(here), || enter_half(there));
    inside.check(2 * half);
    time
}

/// The data that a lock protects.
#[derive(Default)]
#[repr(align(128))]
struct Count(AtomicU64);

impl Count {
    #[inline(always)]
    fn add_one(&self) {
        self.0.store(self.0.load(Relaxed) + 1, Relaxed);
    }

    fn check(self, count: u64) {
        assert_eq!(self.0.into_inner(), count, "two were inside at once");
    }
}

/// Returns memory that stays mapped for the rest of the run.
fn memory(len: usize) -> Window<'static> {
    Box::leak(Box::new(Mapping::memfd("bench", len).expect("a memfd"))).window()
}

/// Returns two references to one lock, for the rest of the run.
fn shared<T>(lock: T) -> [&'static T; 2] {
    let lock = Box::leak(Box::new(lock));
    [lock, lock]
}

const INCARNATIONS: [Incarnation; 2] = [Incarnation::first(1), Incarnation::first(2)];

/// Our mutex.
pub struct Mutex<const SPINS: u32>(shmem_sync::Mutex<'static, u64>);

impl<const SPINS: u32> Lock for Mutex<SPINS> {
    fn pair() -> [Self; 2] {
        let memory = memory(shmem_sync::Mutex::<u64>::SEGMENT_LEN);
        INCARNATIONS.map(|incarnation| {
            let attached = shmem_sync::Mutex::attach(memory, incarnation, &FutexBell);
            Self(attached.expect("long enough"))
        })
    }

    #[inline]
    fn enter(&self, inside: impl FnOnce()) {
        let mut wait = Futex::forever().spin_first(SPINS);
        let guard = self
            .0
            .lock(&mut wait, &mut AssumeAlive)
            .expect("no party dies");
        inside();
        guard.unlock().expect("the lock is ours");
    }
}

/// Our reader-writer lock, read or written.
pub struct RwLock<const WRITE: bool>(shmem_sync::RwLock<'static, u64>);

impl<const WRITE: bool> Lock for RwLock<WRITE> {
    fn pair() -> [Self; 2] {
        let memory = memory(shmem_sync::RwLock::<u64>::SEGMENT_LEN);
        INCARNATIONS.map(|incarnation| {
            let attached = shmem_sync::RwLock::attach(memory, incarnation, &FutexBell);
            Self(attached.expect("long enough"))
        })
    }

    #[inline]
    fn enter(&self, inside: impl FnOnce()) {
        let mut wait = Futex::forever();
        if WRITE {
            let guard = self
                .0
                .write(&mut wait, &mut AssumeAlive)
                .expect("no party dies");
            inside();
            guard.unlock().expect("the lock is ours");
        } else {
            let guard = self
                .0
                .read(&mut wait, &mut AssumeAlive)
                .expect("no party dies");
            inside();
            guard.unlock().expect("the lock is ours");
        }
    }
}

/// Our semaphore, of one permit.
pub struct Semaphore<const SPINS: u32>(shmem_sync::Semaphore<'static>);

impl<const SPINS: u32> Lock for Semaphore<SPINS> {
    fn pair() -> [Self; 2] {
        let memory = memory(shmem_sync::Semaphore::segment_len(1));
        let pair = INCARNATIONS.map(|incarnation| {
            let attached = shmem_sync::Semaphore::attach(memory, incarnation, &FutexBell);
            Self(attached.expect("room for a permit"))
        });
        pair[0].0.add(1).expect("room for a permit");
        pair
    }

    #[inline]
    fn enter(&self, inside: impl FnOnce()) {
        let mut wait = Futex::forever().spin_first(SPINS);
        let permit = self
            .0
            .acquire(&mut wait, &mut AssumeAlive)
            .expect("no party dies");
        inside();
        permit.release().expect("the permit is ours");
    }
}

/// The standard library's mutex.
pub struct StdMutex(&'static std::sync::Mutex<()>);

impl Lock for StdMutex {
    fn pair() -> [Self; 2] {
        shared(std::sync::Mutex::new(())).map(Self)
    }

    #[inline]
    fn enter(&self, inside: impl FnOnce()) {
        let _guard = self.0.lock().expect("no thread panics");
        inside();
    }
}

/// parking_lot's mutex.
pub struct ParkingLot(&'static parking_lot::Mutex<()>);

impl Lock for ParkingLot {
    fn pair() -> [Self; 2] {
        shared(parking_lot::Mutex::new(())).map(Self)
    }

    #[inline]
    fn enter(&self, inside: impl FnOnce()) {
        let _guard = self.0.lock();
        inside();
    }
}

/// The system's robust mutex that processes can share.
pub struct RobustMutex(&'static pthread::RobustMutex);

impl Lock for RobustMutex {
    fn pair() -> [Self; 2] {
        shared(pthread::RobustMutex::new()).map(Self)
    }

    #[inline]
    fn enter(&self, inside: impl FnOnce()) {
        self.0.lock();
        inside();
        self.0.unlock();
    }
}

/// The system's semaphore that processes can share, of one permit.
pub struct SystemSemaphore(&'static pthread::Semaphore);

impl Lock for SystemSemaphore {
    fn pair() -> [Self; 2] {
        shared(pthread::Semaphore::new(1)).map(Self)
    }

    #[inline]
    fn enter(&self, inside: impl FnOnce()) {
        self.0.acquire();
        inside();
        self.0.release();
    }
}
