//! How a partition waits for its peer.

use core::time::Duration;

use crossbeam_utils::Backoff;

use crate::primitive::AtomicU32;

/// What a waiter does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// It spent a moment awake; check again.
    Again,
    /// It would rather sleep: arm the doorbell, check once more, then [`Wait::sleep`].
    Sleep,
    /// Its deadline has passed.
    TimedOut,
}

/// A way to wait, with its deadline; one value serves one wait.
///
/// Every sleep ends by itself after a while, so a lost doorbell costs latency
/// and never a hang.
pub trait Wait {
    /// Spends a moment awake, or says that it is time to sleep or to give up.
    fn pause(&mut self) -> Pause;

    /// Sleeps until `rings` is no longer `seen` (as [`crate::mem::Word::as_atomic`]
    /// has it), until rung in some other way, or until the time of a re-check.
    /// It may return at any time.
    fn sleep(&mut self, rings: &AtomicU32, seen: u32);
}

/// The longest sleep between two checks: what a lost wake-up costs, and how soon a
/// waiter asks again whether the partition it waits for incarnations.
pub const RECHECK: Duration = Duration::from_millis(20);

/// Waits on the processor: for bootloaders, and for peers on cores of their own.
///
/// It has no clock; its deadline is a number of checks.
#[derive(Debug)]
pub struct Spin {
    backoff: Backoff,
    checks: Option<u32>,
}

impl Spin {
    /// Waits for ever.
    pub fn forever() -> Self {
        Self {
            backoff: Backoff::new(),
            checks: None,
        }
    }

    /// Gives up after so many checks.
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
