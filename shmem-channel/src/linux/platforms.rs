//! Linux processes as partitions.

use core::time::Duration;
use std::sync::OnceLock;
use std::thread;
use std::time::Instant;

use shmem_core::doorbell::Doorbell;
use shmem_core::primitive::AtomicU32;
use shmem_core::wait::Wait;
use shmem_core::{Incarnation, Liveness, PartitionState};
use shmem_registry::{Process, Processes, Registry};
use shmem_sync::{Futex, FutexBell};

use crate::platform::{Platform, WakeReason};

/// The platform of processes on one kernel: they sleep on a futex, and the kernel reports which of
/// them have ended. A process in another PID or time namespace counts as alive until its next
/// incarnation joins.
#[derive(Clone, Copy, Debug, Default)]
pub struct SameKernel;

impl Platform for SameKernel {
    fn now(&self) -> Duration {
        uptime()
    }

    fn sleep(&self, ring_count: &AtomicU32, seen: u32, longest: Duration) {
        Futex::timeout(longest)
            .recheck(longest)
            .sleep(ring_count, seen);
    }

    fn wake(&self, ring_count: &AtomicU32, _: WakeReason) {
        FutexBell.ring(ring_count);
    }

    fn wake_all(&self, ring_count: &AtomicU32, _: WakeReason) {
        FutexBell.ring_all(ring_count);
    }

    fn state(&self, registry: &Registry<'_>, incarnation: Incarnation) -> PartitionState {
        Processes::new(*registry).state(incarnation)
    }

    fn process(&self) -> Process {
        Process::this()
    }
}

/// The platform of partitions on different kernels without a doorbell: each checks again after a
/// pause. It does not detect deaths: a partition that was killed counts as alive until its next
/// incarnation joins.
#[derive(Clone, Copy, Debug)]
pub struct PollPlatform {
    pause: Duration,
}

impl PollPlatform {
    /// Returns a platform that checks every `pause`, or every 20 ms if that is shorter. A short
    /// pause lowers the latency of messages; a long one uses less processor time.
    pub fn every(pause: Duration) -> Self {
        Self { pause }
    }
}

impl Platform for PollPlatform {
    fn now(&self) -> Duration {
        uptime()
    }

    fn sleep(&self, _: &AtomicU32, _: u32, longest: Duration) {
        thread::sleep(self.pause.min(longest));
    }

    fn wake(&self, _: &AtomicU32, _: WakeReason) {}
}

/// Returns the time since the first call of this function.
fn uptime() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
