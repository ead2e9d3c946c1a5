//! When KMON and an instance test what works across their memory: once in each incarnation of
//! guestd, and again if the result was unknown.

use std::time::{Duration, Instant};

use kmon_protocol::link::memory::is_inconclusive;
use kmon_protocol::link::{EventReceiver, Verdict};

/// Attempts in one incarnation of guestd.
const ATTEMPTS: u32 = 8;
/// Time between two attempts: the two sides may not have run at the same time.
const PAUSE: Duration = Duration::from_secs(1);

/// The tests in one incarnation of guestd.
#[derive(Default)]
pub(super) struct Trials {
    left: u32,
    last: Option<Instant>,
}

impl Trials {
    /// Notes that guestd has greeted.
    pub(super) fn begin(&mut self) {
        (self.left, self.last) = (ATTEMPTS, None);
    }

    /// Tests the memory if a test is due. Takes at most 50 ms.
    pub(super) fn run_if_due(&mut self, receiver: &mut EventReceiver<'_>) -> Option<Verdict> {
        let is_pausing = self.last.is_some_and(|last| last.elapsed() < PAUSE);
        if self.left == 0 || is_pausing {
            return None;
        }
        self.left -= 1;
        let verdict = receiver.try_memory();
        self.last = Some(Instant::now());
        if !verdict.as_ref().is_some_and(is_inconclusive) {
            self.left = 0;
        }
        verdict
    }
}
