//! Waits with a limit on the time or on the number of checks.

use std::time::Duration;

use shmem_core::primitive::AtomicU32;
use shmem_core::wait::{Pause, Wait};
use shmem_sync::{Futex, SpinYield};

/// Checks of a word that no partition changes any more: enough to find its owner.
const CHECKS: u32 = 12;
/// How many of the checks follow a sleep.
const SLEEPS: u32 = 3;

/// A wait with a limit.
pub(crate) enum TimedWait {
    /// The number of checks left; sleeps separate the last ones, and end at once.
    Checks(u32),
    Futex(Futex),
    Polls(SpinYield),
}

impl TimedWait {
    /// For objects that no other thread uses.
    pub(crate) fn checks() -> Self {
        Self::Checks(CHECKS)
    }

    /// For waits that a peer ends with a wake-up.
    pub(crate) fn futex(limit: Duration) -> Self {
        Self::Futex(Futex::timeout(limit).spin_first(100))
    }

    /// For waits without a wake-up.
    pub(crate) fn polls(limit: Duration) -> Self {
        Self::Polls(SpinYield::timeout(limit))
    }
}

impl Wait for TimedWait {
    fn pause(&mut self) -> Pause {
        match self {
            Self::Checks(left) => match left.checked_sub(1) {
                None => Pause::TimedOut,
                Some(fewer) => {
                    *left = fewer;
                    match fewer {
                        0..SLEEPS => Pause::Sleep,
                        _ => Pause::Again,
                    }
                }
            },
            Self::Futex(wait) => wait.pause(),
            Self::Polls(wait) => wait.pause(),
        }
    }

    fn sleep(&mut self, ring_count: &AtomicU32, seen: u32) {
        match self {
            Self::Checks(_) => {}
            Self::Futex(wait) => wait.sleep(ring_count, seen),
            Self::Polls(wait) => wait.sleep(ring_count, seen),
        }
    }
}
