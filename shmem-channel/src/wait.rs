//! A wait with a deadline on a platform.

use core::time::Duration;

use shmem_core::primitive::{spin_loop, AtomicU32};
use shmem_core::wait::{Pause, Wait, RECHECK};

use crate::platform::PlatformHandle;

/// As a timeout: no deadline.
pub const FOREVER: Duration = Duration::MAX;

/// Looks before the first sleep: a peer that runs on another processor answers sooner
/// than a sleep begins.
const SPINS: u32 = 64;

/// A wait until a deadline: looks some times, then sleeps as its platform does.
///
/// The clock is read when there is something to wait for: the timeout counts from then on.
pub struct Waiter<'m> {
    platform: PlatformHandle<'m>,
    timeout: Duration,
    /// Nothing before the clock was read.
    deadline: Option<Deadline>,
    looks: u32,
}

/// A time of the platform's clock; nothing is never.
type Deadline = Option<Duration>;

impl<'m> Waiter<'m> {
    /// A wait of `timeout`.
    pub fn new(platform: impl Into<PlatformHandle<'m>>, timeout: Duration) -> Self {
        Self {
            platform: platform.into(),
            timeout,
            deadline: None,
            looks: 0,
        }
    }

    /// The part of this wait up to the next [`RECHECK`]: between two of them the caller
    /// looks for what no ring tells.
    pub(crate) fn slice(&mut self) -> Self {
        let next = self.platform.get().now().checked_add(RECHECK);
        let deadline = match (self.deadline(), next) {
            (Some(deadline), Some(next)) => Some(deadline.min(next)),
            (deadline, next) => deadline.or(next),
        };
        Self {
            platform: self.platform.clone(),
            timeout: self.timeout,
            deadline: Some(deadline),
            looks: core::mem::replace(&mut self.looks, SPINS),
        }
    }

    /// Whether the deadline has passed.
    pub(crate) fn is_over(&mut self) -> bool {
        self.left().is_zero()
    }

    /// What is left until the deadline.
    fn left(&mut self) -> Duration {
        if self.platform.get().is_interrupted() {
            return Duration::ZERO;
        }
        match self.deadline() {
            Some(deadline) => deadline.saturating_sub(self.platform.get().now()),
            None => FOREVER,
        }
    }

    fn deadline(&mut self) -> Deadline {
        let Self {
            platform, timeout, ..
        } = self;
        *self
            .deadline
            .get_or_insert_with(|| platform.get().now().checked_add(*timeout))
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
        let longest = self.left().min(RECHECK);
        self.platform.get().sleep(rings, seen, longest);
    }
}
