//! Sleeping and waking through the kernel that both partitions run on.

use core::time::Duration;
use std::thread;
use std::time::Instant;

use rustix::io::Errno;
use rustix::thread::futex;
use shmem_core::doorbell::Doorbell;
use shmem_core::primitive::AtomicU32;
use shmem_core::wait::{Pause, Wait, RECHECK};

use crate::deadline::Deadline;
use crate::poll::Backoff;

/// Sleeps in the kernel on the doorbell's word, after a short spin.
///
/// Works between processes of one kernel over any mapping of ordinary memory; the peer
/// rings with [`FutexBell`]. On memory that has no futex (`/dev/mem`, a PCI device's) it
/// looks again and again as [`crate::SleepPoll`] does, every [`RECHECK`] in the end.
#[derive(Debug)]
pub struct Futex {
    deadline: Deadline,
    /// Between two looks where there is no futex.
    backoff: Backoff,
}

impl Futex {
    /// Waits for ever.
    #[inline]
    pub fn forever() -> Self {
        Self::with(Deadline::new(None))
    }

    /// Gives up after `timeout`.
    #[inline]
    pub fn timeout(timeout: Duration) -> Self {
        Self::with(Deadline::after(timeout))
    }

    /// Gives up at `deadline`; one that has passed leaves time for one look.
    #[inline]
    pub fn until(deadline: Instant) -> Self {
        Self::with(Deadline::new(Some(deadline)))
    }

    #[inline]
    fn with(deadline: Deadline) -> Self {
        Self {
            deadline,
            backoff: Backoff::up_to(RECHECK),
        }
    }

    /// Sleeps up to `longest` between two checks instead of [`RECHECK`]: for a processor
    /// that is to be left asleep. A lost ring, and a peer that died, costs as much.
    #[must_use]
    #[inline]
    pub fn recheck(mut self, longest: Duration) -> Self {
        self.backoff = Backoff::up_to(longest);
        self
    }

    /// Looks `spins` times before each sleep, for peers that answer at once.
    #[must_use]
    #[inline]
    pub fn spin_first(mut self, spins: u32) -> Self {
        self.deadline.spins = spins;
        self
    }
}

impl Wait for Futex {
    fn pause(&mut self) -> Pause {
        self.deadline.pause()
    }

    fn sleep(&mut self, rings: &AtomicU32, seen: u32) {
        let left = self.deadline.left(self.backoff.limit);
        let timeout = futex::Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        match futex::wait(rings, futex::Flags::empty(), seen, Some(&timeout)) {
            // Each a reason to look again: rung, already rung, a signal, time.
            Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
            // No futex here: the kernel would refuse the next one as fast.
            Err(_) => thread::sleep(self.backoff.next().min(left)),
        }
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
    // It fails where memory has no futex: there nobody sleeps on one, who waits polls.
    let _ = futex::wake(rings, futex::Flags::empty(), sleepers);
}
