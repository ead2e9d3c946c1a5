//! How a partition waits for its peer.

use core::time::Duration;

use crossbeam_utils::Backoff;

use crate::primitive::AtomicU32;

/// The result of [`Wait::pause`]: what the waiter does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// It paused without sleeping: check again.
    Again,
    /// It is time to sleep: arm the doorbell, check once more, then call [`Wait::sleep`].
    Sleep,
    /// Its deadline has passed.
    TimedOut,
}

/// A strategy for one wait, with its deadline.
///
/// Every sleep ends after a limited time, so a lost doorbell adds latency but
/// never blocks permanently.
pub trait Wait {
    /// Pauses briefly without sleeping, or returns that it is time to sleep or that the
    /// deadline has passed.
    fn pause(&mut self) -> Pause;

    /// Sleeps until `ring_count` differs from `seen`, until the doorbell wakes it in another way,
    /// or for a limited time. `seen` is in the byte order of [`crate::mem::Word::as_atomic`].
    /// It may return at any time.
    fn sleep(&mut self, ring_count: &AtomicU32, seen: u32);
}

/// The longest sleep between two checks. It bounds the cost of a lost wake-up, and the time
/// until a waiter checks again whether its peer is alive.
pub const RECHECK: Duration = Duration::from_millis(20);

/// Spins on the processor: for bootloaders, and for peers on cores of their own.
///
/// It has no clock; its deadline is a number of checks.
#[derive(Debug)]
pub struct Spin {
    backoff: Backoff,
    checks: Option<u32>,
}

impl Spin {
    /// Returns a wait without a deadline.
    pub fn forever() -> Self {
        Self {
            backoff: Backoff::new(),
            checks: None,
        }
    }

    /// Returns a wait that times out after `checks` checks.
    pub fn checks(checks: u32) -> Self {
        Self {
            backoff: Backoff::new(),
            checks: Some(checks),
        }
    }
}

impl Wait for Spin {
    fn pause(&mut self) -> Pause {
        if let Some(left) = &mut self.checks {
            if *left == 0 {
                return Pause::TimedOut;
            }
            *left -= 1;
        }
        self.backoff.spin();
        Pause::Again
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {}
}
