//! Waits that check again and again, without a doorbell.

use core::time::Duration;
use std::thread;
use std::time::Instant;

use shmem_core::primitive::AtomicU32;
use shmem_core::wait::{Pause, Wait, RECHECK};

use crate::deadline::{Deadline, LONGEST};

/// Checks without sleeping, but lets other threads run.
///
/// For peers on cores of their own that answer within microseconds.
#[derive(Debug)]
pub struct SpinYield {
    deadline: Option<Instant>,
    checks: u32,
}

/// Checks before each yield, and between two readings of the clock.
const SPINS: u32 = 64;

impl SpinYield {
    /// Returns a wait without a deadline.
    #[inline]
    pub fn forever() -> Self {
        Self {
            deadline: None,
            checks: 0,
        }
    }

    /// Returns a wait that times out after `timeout`.
    pub fn timeout(timeout: Duration) -> Self {
        Self {
            deadline: Instant::now().checked_add(timeout),
            checks: 0,
        }
    }
}

impl Wait for SpinYield {
    fn pause(&mut self) -> Pause {
        self.checks = self.checks.wrapping_add(1);
        if self.checks % SPINS != 0 {
            core::hint::spin_loop();
            return Pause::Again;
        }
        if self.deadline.is_some_and(|at| Instant::now() >= at) {
            return Pause::TimedOut;
        }
        thread::yield_now();
        Pause::Again
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {}
}

/// Sleeps between checks, longer and longer: for peers on another kernel without a doorbell.
///
/// The delay grows from 50 µs to a limit that the caller chooses. A longer delay saves processor
/// time in an idle wait, and adds latency to the first record after a pause.
#[derive(Debug)]
pub struct SleepPoll {
    deadline: Deadline,
    backoff: Backoff,
}

impl SleepPoll {
    /// Returns a wait that times out after `timeout`. Its delays grow up to `limit`, which is at
    /// least 50 µs and at most [`RECHECK`].
    pub fn timeout(timeout: Duration, limit: Duration) -> Self {
        Self {
            deadline: Deadline::with_timeout(timeout),
            backoff: Backoff::with_limit(limit.min(RECHECK)),
        }
    }

    /// Starts with `delay`, for example the delay that an earlier wait had reached.
    #[must_use]
    pub fn starting_at(mut self, delay: Duration) -> Self {
        self.backoff.delay = delay.clamp(Backoff::FIRST, self.backoff.limit);
        self
    }

    /// Replaces the limit of the delays by `longest`, which may be longer than [`RECHECK`] and is at
    /// most twelve days: for a peer that has been inactive for a long time.
    #[must_use]
    pub fn recheck(mut self, longest: Duration) -> Self {
        let delay = self.backoff.delay;
        self.backoff = Backoff::with_limit(longest);
        self.starting_at(delay)
    }

    /// Returns the current delay.
    pub fn delay(&self) -> Duration {
        self.backoff.delay
    }
}

impl Wait for SleepPoll {
    fn pause(&mut self) -> Pause {
        if self.deadline.pause() == Pause::TimedOut {
            return Pause::TimedOut;
        }
        // Sleeps here and not in `sleep`: a wait that polls needs no doorbell.
        thread::sleep(self.deadline.left(self.backoff.next()));
        Pause::Again
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {}
}

/// A delay that doubles up to a limit.
#[derive(Debug)]
pub(crate) struct Backoff {
    delay: Duration,
    pub(crate) limit: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_micros(50);

    /// Keeps the limit in range: a shorter delay would spin, and the kernel rejects a longer one.
    #[inline]
    pub(crate) fn with_limit(limit: Duration) -> Self {
        Self {
            delay: Self::FIRST,
            limit: limit.clamp(Self::FIRST, LONGEST),
        }
    }

    /// Returns the current delay and doubles the next one.
    pub(crate) fn next(&mut self) -> Duration {
        let next = (self.delay * 2).min(self.limit);
        core::mem::replace(&mut self.delay, next)
    }
}
