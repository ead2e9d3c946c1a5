//! A wait with a deadline on a platform.

use core::time::Duration;

use shmem_core::primitive::{spin_loop, AtomicU32};
use shmem_core::wait::{Pause, Wait, RECHECK};

use crate::platform::PlatformHandle;

/// As a timeout: no deadline.
pub const FOREVER: Duration = Duration::MAX;

/// Looks before the first sleep, where nothing is known of the peer: one that runs on
/// another processor answers sooner than a sleep begins.
pub(crate) const LOOKS: u32 = 64;

/// A wait until a deadline: looks some times, then sleeps as its platform does.
///
/// The clock is read when it would sleep: the timeout counts from then on.
pub struct Waiter<'m> {
    platform: PlatformHandle<'m>,
    timeout: Nanos,
    /// Nothing before the clock was read.
    deadline: Option<Nanos>,
    /// How long it has slept.
    slept: Nanos,
    /// Looks that are left before it sleeps.
    looks: u32,
    /// The longest sleep between two looks.
    recheck: Nanos,
}

/// Nanoseconds, of the platform's clock or between two times of it; the greatest is never.
type Nanos = u64;

fn nanos(time: Duration) -> Nanos {
    let seconds = time.as_secs().saturating_mul(1_000_000_000);
    seconds.saturating_add(time.subsec_nanos().into())
}

impl<'m> Waiter<'m> {
    /// A wait of `timeout`.
    pub fn new(platform: impl Into<PlatformHandle<'m>>, timeout: Duration) -> Self {
        Self::with_looks(platform.into(), timeout, LOOKS)
    }

    /// Sleeps up to `longest` between two looks instead of [`RECHECK`]: for a processor that is
    /// to be left asleep. A lost ring costs as much.
    #[must_use]
    pub fn recheck(self, longest: Duration) -> Self {
        let recheck = nanos(longest);
        Self { recheck, ..self }
    }

    /// A wait of `timeout` that looks so many times before it sleeps.
    pub(crate) fn with_looks(platform: PlatformHandle<'m>, timeout: Duration, looks: u32) -> Self {
        let timeout = nanos(timeout);
        Self {
            platform,
            timeout,
            deadline: None,
            slept: 0,
            looks: if timeout == 0 { 0 } else { looks },
            recheck: nanos(RECHECK),
        }
    }

    /// The part of this wait up to the first sleep, or up to the next [`RECHECK`]: between two
    /// parts the caller looks for what no ring tells.
    pub(crate) fn part(&mut self) -> Part<'_, 'm> {
        Part {
            looks: self.looks != 0,
            end: 0,
            wait: self,
        }
    }

    /// Whether it looks again before it sleeps.
    pub(crate) fn has_looks(&self) -> bool {
        self.looks != 0
    }

    /// Takes one of the looks that are left.
    pub(crate) fn use_look(&mut self) {
        self.looks = self.looks.saturating_sub(1);
    }

    /// How long it has slept.
    pub(crate) fn slept(&self) -> Duration {
        Duration::from_nanos(self.slept)
    }

    /// Whether the deadline has passed. While there are looks left it has not.
    pub(crate) fn is_over(&mut self) -> bool {
        self.looks == 0 && self.is_past()
    }

    /// Whether the deadline has passed, by the clock: where it does not look for its peer.
    pub(crate) fn is_past(&mut self) -> bool {
        let now = self.now();
        self.left(now) == 0
    }

    fn now(&self) -> Nanos {
        nanos(self.platform.get().now())
    }

    /// What is left until the deadline.
    fn left(&mut self, now: Nanos) -> Nanos {
        let timeout = self.timeout;
        let deadline = *self.deadline.get_or_insert(now.saturating_add(timeout));
        match self.platform.get().is_interrupted() {
            true => 0,
            false => deadline.saturating_sub(now),
        }
    }
}

impl Wait for Waiter<'_> {
    fn pause(&mut self) -> Pause {
        if self.looks != 0 {
            self.looks -= 1;
            spin_loop();
            return Pause::Again;
        }
        match self.is_past() {
            true => Pause::TimedOut,
            false => Pause::Sleep,
        }
    }

    fn sleep(&mut self, rings: &AtomicU32, seen: u32) {
        let start = self.now();
        let longest = Duration::from_nanos(self.left(start).min(self.recheck));
        self.platform.get().sleep(rings, seen, longest);
        let slept = self.now().saturating_sub(start);
        self.slept = self.slept.saturating_add(slept);
    }
}

/// A part of a wait.
pub(crate) struct Part<'w, 'm> {
    wait: &'w mut Waiter<'m>,
    /// It ends when there are no looks left.
    looks: bool,
    /// When it ends otherwise; 0 before the first sleep.
    end: Nanos,
}

impl Wait for Part<'_, '_> {
    fn pause(&mut self) -> Pause {
        if self.wait.looks != 0 {
            return self.wait.pause();
        }
        if self.looks {
            return Pause::TimedOut;
        }
        let now = self.wait.now();
        if self.end == 0 {
            self.end = now.saturating_add(nanos(RECHECK));
        }
        match now >= self.end {
            true => Pause::TimedOut,
            false => self.wait.pause(),
        }
    }

    fn sleep(&mut self, rings: &AtomicU32, seen: u32) {
        self.wait.sleep(rings, seen);
    }
}
