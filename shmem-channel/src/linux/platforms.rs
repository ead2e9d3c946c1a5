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

use crate::platform::{Platform, Reason};

/// Processes of one kernel: they sleep on a futex, and the kernel says which of them
/// have ended. A process that runs in another PID or time namespace counts as alive until
/// its next incarnation joins.
#[derive(Clone, Copy, Debug, Default)]
pub struct SameKernel;

impl Platform for SameKernel {
    fn now(&self) -> Duration {
        uptime()
    }

    fn sleep(&self, rings: &AtomicU32, seen: u32, longest: Duration) {
        Futex::timeout(longest).recheck(longest).sleep(rings, seen);
    }

    fn wake(&self, rings: &AtomicU32, _: Reason) {
        FutexBell.ring(rings);
    }

    fn wake_all(&self, rings: &AtomicU32, _: Reason) {
        FutexBell.ring_all(rings);
    }

    fn state(&self, registry: &Registry<'_>, partition: Incarnation) -> PartitionState {
        Processes::new(*registry).state(partition)
    }

    fn process(&self) -> Process {
        Process::this()
    }
}

/// Partitions on different kernels, without a doorbell: each looks again after a pause.
#[derive(Clone, Copy, Debug)]
pub struct Polling {
    pause: Duration,
}

impl Polling {
    /// Looks again every `pause`: the latency of a message, against the processor time of
    /// an idle wait.
    pub fn every(pause: Duration) -> Self {
        Self { pause }
    }
}

impl Platform for Polling {
    fn now(&self) -> Duration {
        uptime()
    }

    fn sleep(&self, _: &AtomicU32, _: u32, longest: Duration) {
        thread::sleep(self.pause.min(longest));
    }

    fn wake(&self, _: &AtomicU32, _: Reason) {}
}

/// The time since this was first called.
fn uptime() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
