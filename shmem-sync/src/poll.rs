//! Waits that look for themselves.

use core::time::Duration;
use std::thread;
use std::time::Instant;

use shmem_core::primitive::AtomicU32;
use shmem_core::wait::{Pause, Wait, RECHECK};

use crate::deadline::{Deadline, LONGEST};

/// Looks without sleeping, but lets other threads have the processor.
///
/// For peers on cores of their own that answer within microseconds.
#[derive(Debug)]
pub struct SpinYield {
    deadline: Option<Instant>,
    looks: u32,
}

/// Looks this often before it yields, and between two looks at the clock.
const SPINS: u32 = 64;

impl SpinYield {
    /// Waits for ever.
    #[inline]
    pub fn forever() -> Self {
        Self {
            deadline: None,
            looks: 0,
        }
    }

    /// Gives up after `timeout`.
    pub fn timeout(timeout: Duration) -> Self {
        Self {
            deadline: Instant::now().checked_add(timeout),
            looks: 0,
        }
    }
}

impl Wait for SpinYield {
    fn pause(&mut self) -> Pause {
        self.looks = self.looks.wrapping_add(1);
        if self.looks % SPINS != 0 {
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

/// Sleeps between looks, longer and longer: for peers behind another kernel
/// without a doorbell.
///
/// The delay grows from 50 µs to a limit of the caller's: the latency of the first
/// record after a pause, against the processor time of an idle wait.
#[derive(Debug)]
pub struct SleepPoll {
    deadline: Deadline,
    backoff: Backoff,
}

impl SleepPoll {
    /// Waits until `timeout` with delays of up to `limit`, which is 50 µs at least and
    /// [`RECHECK`] at the most.
    pub fn timeout(timeout: Duration, limit: Duration) -> Self {
        Self {
            deadline: Deadline::after(timeout),
            backoff: Backoff::up_to(limit.min(RECHECK)),
        }
    }

    /// Goes on with the delay that an earlier wait had come to, because nothing
    /// has happened since.
    #[must_use]
    pub fn starting_at(mut self, delay: Duration) -> Self {
        self.backoff.delay = delay.clamp(Backoff::FIRST, self.backoff.limit);
        self
    }

    /// Sleeps up to `longest` between two looks instead of [`RECHECK`]: for a peer that
    /// has said nothing for long. Twelve days at the most.
    #[must_use]
    pub fn recheck(mut self, longest: Duration) -> Self {
        let delay = self.backoff.delay;
        self.backoff = Backoff::up_to(longest);
        self.starting_at(delay)
    }

    /// The delay it has come to.
    pub fn delay(&self) -> Duration {
        self.backoff.delay
    }
}

impl Wait for SleepPoll {
    fn pause(&mut self) -> Pause {
        if self.deadline.pause() == Pause::TimedOut {
            return Pause::TimedOut;
        }
        // Asleep without the doorbell: who polls is not rung.
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

    /// Both limits are kept: a shorter delay would spin, a longer one the kernel refuses.
    #[inline]
    pub(crate) fn up_to(limit: Duration) -> Self {
        Self {
            delay: Self::FIRST,
            limit: limit.clamp(Self::FIRST, LONGEST),
        }
    }

    /// The delay now; the next one is longer.
    pub(crate) fn next(&mut self) -> Duration {
        let next = (self.delay * 2).min(self.limit);
        core::mem::replace(&mut self.delay, next)
    }
}
