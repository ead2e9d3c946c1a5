//! Waits that look for themselves.

use core::time::Duration;
use std::thread;
use std::time::Instant;

use shmem_core::primitive::AtomicU32;
use shmem_core::wait::{Pause, Wait, RECHECK};

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
    deadline: Option<Instant>,
    delay: Duration,
    limit: Duration,
}

impl SleepPoll {
    const FIRST: Duration = Duration::from_micros(50);

    /// Waits until `timeout` with delays of up to `limit`, and of [`RECHECK`] at the most.
    pub fn timeout(timeout: Duration, limit: Duration) -> Self {
        Self {
            deadline: Instant::now().checked_add(timeout),
            delay: Self::FIRST,
            limit: limit.min(RECHECK),
        }
    }

    /// Goes on with the delay that an earlier wait had come to, because nothing
    /// has happened since.
    #[must_use]
    pub fn starting_at(self, delay: Duration) -> Self {
        Self {
            delay: delay.clamp(Self::FIRST, self.limit.max(Self::FIRST)),
            ..self
        }
    }

    /// Sleeps up to `longest` between two looks instead of [`RECHECK`]: for a peer that
    /// has said nothing for long.
    #[must_use]
    pub fn recheck(self, longest: Duration) -> Self {
        Self {
            limit: longest,
            ..self
        }
    }

    /// The delay it has come to.
    pub fn delay(&self) -> Duration {
        self.delay
    }
}

impl Wait for SleepPoll {
    fn pause(&mut self) -> Pause {
        let now = Instant::now();
        let left = match self.deadline {
            Some(deadline) if now >= deadline => return Pause::TimedOut,
            Some(deadline) => deadline - now,
            None => RECHECK,
        };
        // Asleep without the doorbell: who polls is not rung.
        thread::sleep(self.delay.min(left));
        self.delay = (self.delay * 2).min(self.limit);
        Pause::Again
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {}
}
