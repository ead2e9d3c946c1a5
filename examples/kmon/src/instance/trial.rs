//! When KMON tries with an instance what works across their memory: once in each
//! of guestd's incarnations, and again where that told nothing.

use std::time::{Duration, Instant};

use kmon_protocol::link::memory::is_open;
use kmon_protocol::link::{EventReceiver, Verdict};

/// Trials in one incarnation of guestd.
const ATTEMPTS: u32 = 8;
/// Time between two: the two may just not have run at the same time.
const PAUSE: Duration = Duration::from_secs(1);

/// The trials of one incarnation of guestd.
#[derive(Default)]
pub(super) struct Trials {
    left: u32,
    last: Option<Instant>,
}

impl Trials {
    /// Guestd has greeted.
    pub(super) fn begin(&mut self) {
        (self.left, self.last) = (ATTEMPTS, None);
    }

    /// Tries, if that is due; takes 50 ms at most.
    pub(super) fn turn(&mut self, receiver: &mut EventReceiver<'_>) -> Option<Verdict> {
        let rests = self.last.is_some_and(|last| last.elapsed() < PAUSE);
        if self.left == 0 || rests {
            return None;
        }
        self.left -= 1;
        let verdict = receiver.try_memory();
        self.last = Some(Instant::now());
        if !verdict.as_ref().is_some_and(is_open) {
            self.left = 0;
        }
        verdict
    }
}
