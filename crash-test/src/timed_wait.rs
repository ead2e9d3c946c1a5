//! Waits with a deadline, by time or by the number of looks.

use std::time::Duration;

use shmem_core::primitive::AtomicU32;
use shmem_core::wait::{Pause, Wait};
use shmem_sync::{Futex, SpinYield};

/// Looks at a word that nobody changes any more: enough to learn whose it is.
const CHECKS: u32 = 12;
/// Those of them that are a sleep.
const SLEEPS: u32 = 3;

/// A wait with a deadline.
pub(crate) enum TimedWait {
    /// So many looks, the last ones with a sleep between them that ends at once.
    Checks(u32),
    Futex(Futex),
    Polls(SpinYield),
}

impl TimedWait {
    /// For objects where nobody else runs.
    pub(crate) fn checks() -> Self {
        Self::Checks(CHECKS)
    }

    /// For those whom a peer wakes.
    pub(crate) fn futex(limit: Duration) -> Self {
        Self::Futex(Futex::timeout(limit).spin_first(100))
    }

    /// For those whom nobody wakes.
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

    fn sleep(&mut self, rings: &AtomicU32, seen: u32) {
        match self {
            Self::Checks(_) => {}
            Self::Futex(wait) => wait.sleep(rings, seen),
            Self::Polls(wait) => wait.sleep(rings, seen),
        }
    }
}
