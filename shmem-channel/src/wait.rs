//! A wait with a deadline on a platform.

use core::time::Duration;

use shmem_core::primitive::{spin_loop, AtomicU32};
use shmem_core::wait::{Pause, Wait, RECHECK};

use crate::platform::Platform;

/// As a timeout: no deadline.
pub const FOREVER: Duration = Duration::MAX;

/// Looks before the first sleep: a peer that runs on another processor answers sooner
/// than a sleep begins.
const SPINS: u32 = 64;

/// A wait until a deadline: looks some times, then sleeps as its platform does.
///
/// Locks of `shmem-sync` take it, too ([`Session::wait`](crate::Session::wait)).
pub struct Waiter<'p> {
    platform: &'p dyn Platform,
    deadline: Option<Duration>,
    looks: u32,
}

impl<'p> Waiter<'p> {
    /// A wait of `timeout` from now on.
    pub fn new(platform: &'p dyn Platform, timeout: Duration) -> Self {
        Self {
            platform,
            deadline: platform.now().checked_add(timeout),
            looks: 0,
        }
    }

    /// The part of this wait up to the next [`RECHECK`]: between two of them the caller
    /// looks for what no ring tells.
    pub(crate) fn slice(&mut self) -> Self {
        let next = self.platform.now().checked_add(RECHECK);
        Self {
            platform: self.platform,
            deadline: match (self.deadline, next) {
                (Some(deadline), Some(next)) => Some(deadline.min(next)),
                (deadline, next) => deadline.or(next),
            },
            looks: core::mem::replace(&mut self.looks, SPINS),
        }
    }

    /// Whether the deadline has passed.
    pub(crate) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// What is left until the deadline.
    pub(crate) fn left(&self) -> Duration {
        match self.deadline {
            Some(deadline) => deadline.saturating_sub(self.platform.now()),
            None => FOREVER,
        }
    }
}

impl Wait for Waiter<'_> {
    fn pause(&mut self) -> Pause {
        if self.looks < SPINS {
            self.looks += 1;
            spin_loop();
            return Pause::Again;
        }
        match self.is_over() {
            true => Pause::TimedOut,
            false => Pause::Sleep,
        }
    }

    fn sleep(&mut self, rings: &AtomicU32, seen: u32) {
        self.platform.sleep(rings, seen, self.left().min(RECHECK));
    }
}
