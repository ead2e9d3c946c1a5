//! What waits that sleep have in common: a deadline, and looks before each sleep.

use core::time::Duration;
use std::time::Instant;

use shmem_core::wait::Pause;

/// Looks this often between two looks at the clock.
const SPINS: u32 = 64;

/// A sleep that the kernel takes for one, whatever was asked for.
pub(crate) const LONGEST: Duration = Duration::from_secs(1 << 20);

/// When a wait gives up, and how often it looks before each of its sleeps.
#[derive(Debug)]
pub(crate) struct Deadline {
    /// None is never.
    pub(crate) at: Option<Instant>,
    /// Looks before each sleep.
    pub(crate) spins: u32,
    /// Looks since the last sleep.
    spun: u32,
}

impl Deadline {
    #[inline]
    pub(crate) fn new(at: Option<Instant>) -> Self {
        Self {
            at,
            spins: 0,
            spun: 0,
        }
    }

    /// In `timeout`, or never if that is longer than the clock can say.
    #[inline]
    pub(crate) fn after(timeout: Duration) -> Self {
        Self::new(Instant::now().checked_add(timeout))
    }

    pub(crate) fn pause(&mut self) -> Pause {
        let is_awake = self.spun < self.spins;
        self.spun = if is_awake { self.spun + 1 } else { 0 };
        if is_awake && self.spun % SPINS != 0 {
            core::hint::spin_loop();
            return Pause::Again;
        }
        match self.at {
            Some(deadline) if Instant::now() >= deadline => Pause::TimedOut,
            _ if is_awake => Pause::Again,
            _ => Pause::Sleep,
        }
    }

    /// Time left, `longest` at the most.
    pub(crate) fn left(&self, longest: Duration) -> Duration {
        self.at.map_or(longest, |at| {
            longest.min(at.saturating_duration_since(Instant::now()))
        })
    }
}
