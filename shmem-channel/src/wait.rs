//! A wait with a deadline on a platform.

use core::time::Duration;

use shmem_core::primitive::{spin_loop, AtomicU32};
use shmem_core::wait::{Pause, Wait, RECHECK};

use crate::platform::PlatformHandle;

/// A timeout without a deadline.
pub const FOREVER: Duration = Duration::MAX;

/// Checks before the first sleep, while nothing is known about the peer. A peer on another
/// processor answers sooner than a sleep begins.
pub(crate) const CHECKS: u32 = 64;

/// A wait with a deadline: checks a number of times, then sleeps as its platform does.
///
/// The timeout starts at the first read of the clock, just before the first sleep. The checks
/// before it do not count.
pub struct Waiter<'m> {
    platform: PlatformHandle<'m>,
    timeout: Nanos,
    /// `None` until the clock is first read.
    deadline: Option<Nanos>,
    /// How long it has slept.
    slept: Nanos,
    /// Checks left before it sleeps.
    checks: u32,
    /// The longest sleep between two checks.
    recheck: Nanos,
}

/// A time of the platform's clock, or a duration, in nanoseconds; the maximum means never.
type Nanos = u64;

fn nanos(time: Duration) -> Nanos {
    let seconds = time.as_secs().saturating_mul(1_000_000_000);
    seconds.saturating_add(time.subsec_nanos().into())
}

impl<'m> Waiter<'m> {
    /// Returns a wait with this timeout.
    pub fn new(platform: impl Into<PlatformHandle<'m>>, timeout: Duration) -> Self {
        Self::with_checks(platform.into(), timeout, CHECKS)
    }

    /// Sets the longest sleep between two checks; the default is [`RECHECK`].
    ///
    /// A longer sleep wakes the processor less often, and a lost notification then delays the
    /// wait by that time.
    #[must_use]
    pub fn recheck(self, longest: Duration) -> Self {
        let recheck = nanos(longest);
        Self { recheck, ..self }
    }

    /// Returns a wait that makes `checks` checks before it sleeps.
    pub(crate) fn with_checks(
        platform: PlatformHandle<'m>,
        timeout: Duration,
        checks: u32,
    ) -> Self {
        let timeout = nanos(timeout);
        Self {
            platform,
            timeout,
            deadline: None,
            slept: 0,
            checks: if timeout == 0 { 0 } else { checks },
            recheck: nanos(RECHECK),
        }
    }

    /// Returns the part of this wait up to the first sleep, or up to the next [`RECHECK`].
    /// Between two parts the caller checks what no doorbell announces.
    pub(crate) fn part(&mut self) -> Part<'_, 'm> {
        Part {
            before_sleep: self.checks != 0,
            end: 0,
            wait: self,
        }
    }

    /// Returns true while it checks without sleeping.
    pub(crate) fn has_checks_left(&self) -> bool {
        self.checks != 0
    }

    /// Uses up one of the checks that are left.
    pub(crate) fn use_check(&mut self) {
        self.checks = self.checks.saturating_sub(1);
    }

    /// Returns how long it has slept.
    pub(crate) fn slept(&self) -> Duration {
        Duration::from_nanos(self.slept)
    }

    /// Returns true if no checks are left and the deadline has passed.
    pub(crate) fn is_expired(&mut self) -> bool {
        self.checks == 0 && self.deadline_passed()
    }

    /// Returns true if the deadline has passed, whether checks are left or not.
    pub(crate) fn deadline_passed(&mut self) -> bool {
        let now = self.now();
        self.left(now) == 0
    }

    fn now(&self) -> Nanos {
        nanos(self.platform.get().now())
    }

    /// Returns the time left until the deadline.
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
        if self.checks != 0 {
            self.checks -= 1;
            spin_loop();
            return Pause::Again;
        }
        match self.deadline_passed() {
            true => Pause::TimedOut,
            false => Pause::Sleep,
        }
    }

    fn sleep(&mut self, ring_count: &AtomicU32, seen: u32) {
        let start = self.now();
        let longest = Duration::from_nanos(self.left(start).min(self.recheck));
        self.platform.get().sleep(ring_count, seen, longest);
        let slept = self.now().saturating_sub(start);
        self.slept = self.slept.saturating_add(slept);
    }
}

/// A part of a wait: [`Waiter::part`].
pub(crate) struct Part<'w, 'm> {
    wait: &'w mut Waiter<'m>,
    /// Whether it ends when no checks are left.
    before_sleep: bool,
    /// When it ends otherwise; 0 before the first sleep.
    end: Nanos,
}

impl Wait for Part<'_, '_> {
    fn pause(&mut self) -> Pause {
        if self.wait.checks != 0 {
            return self.wait.pause();
        }
        if self.before_sleep {
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

    fn sleep(&mut self, ring_count: &AtomicU32, seen: u32) {
        self.wait.sleep(ring_count, seen);
    }
}
