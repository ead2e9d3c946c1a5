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
/// Works between processes of one kernel, on any mapping of ordinary memory; the peer rings with
/// [`FutexBell`]. On memory without futexes (`/dev/mem`, the memory of a PCI device) it checks
/// at growing intervals as [`crate::SleepPoll`] does, up to [`RECHECK`].
#[derive(Debug)]
pub struct Futex {
    deadline: Deadline,
    /// The delay between two checks where there is no futex.
    backoff: Backoff,
}

impl Futex {
    /// Returns a wait without a deadline.
    #[inline]
    pub fn forever() -> Self {
        Self::with_deadline(Deadline::new(None))
    }

    /// Returns a wait that times out after `timeout`.
    #[inline]
    pub fn timeout(timeout: Duration) -> Self {
        Self::with_deadline(Deadline::with_timeout(timeout))
    }

    /// Returns a wait that times out at `deadline`. If that has already passed, the caller checks
    /// once.
    #[inline]
    pub fn until(deadline: Instant) -> Self {
        Self::with_deadline(Deadline::new(Some(deadline)))
    }

    #[inline]
    fn with_deadline(deadline: Deadline) -> Self {
        Self {
            deadline,
            backoff: Backoff::with_limit(RECHECK),
        }
    }

    /// Sleeps up to `longest` between two checks instead of [`RECHECK`], so that the processor
    /// stays asleep for longer. A lost notification or the death of a peer is then noticed after up
    /// to `longest`.
    #[must_use]
    #[inline]
    pub fn recheck(mut self, longest: Duration) -> Self {
        self.backoff = Backoff::with_limit(longest);
        self
    }

    /// Checks `spins` times before each sleep, for peers that answer at once.
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

    fn sleep(&mut self, ring_count: &AtomicU32, seen: u32) {
        let left = self.deadline.left(self.backoff.limit);
        let timeout = futex::Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        match futex::wait(ring_count, futex::Flags::empty(), seen, Some(&timeout)) {
            // Each is a reason to check again: rung now or before, a signal, or time.
            Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
            // There is no futex here: the next call would fail as fast.
            Err(_) => thread::sleep(self.backoff.next().min(left)),
        }
    }
}

/// Wakes partitions that sleep with [`Futex`].
#[derive(Clone, Copy, Debug, Default)]
pub struct FutexBell;

impl Doorbell for FutexBell {
    fn ring(&self, ring_count: &AtomicU32) {
        wake(ring_count, 1);
    }

    fn ring_all(&self, ring_count: &AtomicU32) {
        wake(ring_count, i32::MAX.unsigned_abs());
    }
}

fn wake(ring_count: &AtomicU32, sleepers: u32) {
    // It fails where memory has no futex. There no partition sleeps on one: all waiters poll.
    let _ = futex::wake(ring_count, futex::Flags::empty(), sleepers);
}
