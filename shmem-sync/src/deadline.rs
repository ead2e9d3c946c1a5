//! What waits that sleep have in common: a deadline, and checks before each sleep.

use core::time::Duration;
use std::time::Instant;

use shmem_core::wait::Pause;

/// Checks between two readings of the clock.
const SPINS: u32 = 64;

/// The longest sleep that the kernel accepts here.
pub(crate) const LONGEST: Duration = Duration::from_secs(1 << 20);

/// When a wait times out, and how often it checks before each of its sleeps.
#[derive(Debug)]
pub(crate) struct Deadline {
    /// `None`: never.
    pub(crate) at: Option<Instant>,
    /// Checks before each sleep.
    pub(crate) spins: u32,
    /// Checks since the last sleep.
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

    /// Returns a deadline after `timeout`, or none if the clock cannot represent that time.
    #[inline]
    pub(crate) fn with_timeout(timeout: Duration) -> Self {
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

    /// Returns the time that is left, at most `longest`.
    pub(crate) fn left(&self, longest: Duration) -> Duration {
        self.at.map_or(longest, |at| {
            longest.min(at.saturating_duration_since(Instant::now()))
        })
    }
}
