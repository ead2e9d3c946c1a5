//! Sleeping and waking through the kernel that both partitions run on.

use core::time::Duration;
use std::time::Instant;

use rustix::thread::futex;
use shmem_core::doorbell::Doorbell;
use shmem_core::primitive::AtomicU32;
use shmem_core::wait::{Pause, Wait, RECHECK};

/// Sleeps in the kernel on the doorbell's word, after a short spin.
///
/// Works between processes of one kernel over any shared mapping; the peer
/// rings with [`FutexBell`].
#[derive(Debug)]
pub struct Futex {
    deadline: Option<Instant>,
    spins: u32,
}

impl Futex {
    /// Waits for ever.
    pub fn forever() -> Self {
        Self {
            deadline: None,
            spins: 0,
        }
    }

    /// Gives up after `timeout`.
    pub fn timeout(timeout: Duration) -> Self {
        Self {
            deadline: Instant::now().checked_add(timeout),
            spins: 0,
        }
    }

    /// Gives up at `deadline`; one that has passed leaves time for one look.
    pub fn until(deadline: Instant) -> Self {
        Self {
            deadline: Some(deadline),
            spins: 0,
        }
    }

    /// Looks `spins` times before each sleep, for peers that answer at once.
    #[must_use]
    pub fn spin_first(self, spins: u32) -> Self {
        Self { spins, ..self }
    }
}

impl Wait for Futex {
    fn pause(&mut self) -> Pause {
        if self.spins != 0 {
            self.spins -= 1;
            core::hint::spin_loop();
            return Pause::Again;
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Pause::TimedOut,
            _ => Pause::Sleep,
        }
    }

    fn sleep(&mut self, rings: &AtomicU32, seen: u32) {
        let left = self
            .deadline
            .map_or(RECHECK, |at| at.saturating_duration_since(Instant::now()))
            .min(RECHECK);
        let timeout = futex::Timespec {
            tv_sec: 0,
            tv_nsec: left.subsec_nanos().into(),
        };
        // Every outcome is a reason to look again: rung, already rung, time, a signal.
        let _ = futex::wait(rings, futex::Flags::empty(), seen, Some(&timeout));
    }
}

/// Wakes whoever sleeps with [`Futex`].
#[derive(Clone, Copy, Debug, Default)]
pub struct FutexBell;

impl Doorbell for FutexBell {
    fn ring(&self, rings: &AtomicU32) {
        wake(rings, 1);
    }

    fn ring_all(&self, rings: &AtomicU32) {
        wake(rings, i32::MAX.unsigned_abs());
    }
}

fn wake(rings: &AtomicU32, sleepers: u32) {
    // It fails only for an address that is not mapped, which this one is.
    let _ = futex::wake(rings, futex::Flags::empty(), sleepers);
}
