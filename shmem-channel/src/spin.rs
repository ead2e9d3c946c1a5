//! How often an end checks for its peer before it sleeps.
//!
//! A sleep and a wake-up take a hundred times as long as an answer from another processor. So
//! an end that was woken soon after it fell asleep makes more checks before its next sleep. If
//! even the most checks do not avoid the sleep, for example because the peer needs this
//! processor, the end returns to few checks and waits before it tries more again.

use core::time::Duration;

use crate::wait::{Waiter, CHECKS};

/// The most checks before a sleep: they take longer than a wake-up.
const MAX_CHECKS: u32 = 128 * CHECKS;

/// A sleep of at most this time is short: more checks might have avoided it.
const SHORT: Duration = Duration::from_micros(200);

/// The most short sleeps before more checks are tried again.
const MAX_REST: u32 = 1 << 10;

/// How many checks an end makes before it sleeps, adapted to its earlier waits.
#[derive(Clone, Copy)]
pub(crate) struct Spin {
    checks: u32,
    /// Short sleeps left before more checks are tried again.
    rest: u32,
    /// The value of `rest` after the next attempt that fails.
    next_rest: u32,
}

impl Spin {
    pub(crate) const fn new() -> Self {
        Self {
            checks: CHECKS,
            rest: 0,
            next_rest: 1,
        }
    }

    /// Returns the number of checks before the next wait sleeps.
    pub(crate) fn checks(&self) -> u32 {
        self.checks
    }

    /// Adapts the number of checks after a part of a wait; `found` says whether it found something.
    pub(crate) fn adapt(&mut self, wait: &Waiter<'_>, found: bool) {
        let slept = wait.slept();
        if slept.is_zero() {
            if found && self.checks > CHECKS {
                self.next_rest = 1; // The additional checks avoided a sleep.
            }
        } else if slept > SHORT {
            self.checks = CHECKS;
        } else if self.rest != 0 {
            self.rest -= 1;
        } else if self.checks < MAX_CHECKS {
            self.checks *= 2;
        } else {
            self.checks = CHECKS;
            self.rest = self.next_rest;
            self.next_rest = (self.next_rest * 2).min(MAX_REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::Ordering::Relaxed;

    use shmem_core::primitive::AtomicU32;
    use shmem_core::wait::Wait;

    use super::*;
    use crate::platform::{Platform, WakeReason};

    /// A clock, and the duration of a sleep, both in microseconds.
    struct Clock(AtomicU32, u32);

    impl Platform for Clock {
        fn now(&self) -> Duration {
            Duration::from_micros(self.0.load(Relaxed).into())
        }

        fn sleep(&self, _: &AtomicU32, _: u32, _: Duration) {
            self.0.fetch_add(self.1, Relaxed);
        }

        fn wake(&self, _: &AtomicU32, _: WakeReason) {}
    }

    /// Makes a wait that finds something after a sleep of `micros`, or without one if that is 0.
    /// Returns the number of checks of the next wait.
    fn wait(spin: &mut Spin, micros: u32) -> u32 {
        let clock = Clock(AtomicU32::new(1), micros);
        let mut wait = Waiter::new(&clock, Duration::from_secs(1));
        if micros != 0 {
            wait.sleep(&AtomicU32::new(0), 0);
        }
        spin.adapt(&wait, true);
        spin.checks()
    }

    /// Returns how many short sleeps it takes until the number of checks is at its maximum.
    fn short_sleeps_to_maximum(spin: &mut Spin) -> usize {
        let tries = 1..5000;
        tries.take_while(|_| wait(spin, 50) != MAX_CHECKS).count() + 1
    }

    #[test]
    fn checks_double_after_each_short_sleep_and_rest_twice_as_long_after_each_failure() {
        let mut spin = Spin::new();
        assert_eq!(wait(&mut spin, 50), 2 * CHECKS);
        assert_eq!(short_sleeps_to_maximum(&mut spin), 6);
        for rest in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024] {
            assert_eq!(
                wait(&mut spin, 50),
                CHECKS,
                "it slept in spite of all checks"
            );
            assert_eq!(short_sleeps_to_maximum(&mut spin), rest + 7);
        }
    }

    #[test]
    fn checks_that_avoid_a_sleep_reset_the_rest() {
        let mut spin = Spin::new();
        for _ in 0..5 {
            short_sleeps_to_maximum(&mut spin);
            wait(&mut spin, 50);
        }
        short_sleeps_to_maximum(&mut spin);
        assert_eq!(wait(&mut spin, 0), MAX_CHECKS);
        assert_eq!(wait(&mut spin, 50), CHECKS);
        assert_eq!(short_sleeps_to_maximum(&mut spin), 1 + 7);
    }

    #[test]
    fn a_long_sleep_resets_the_number_of_checks() {
        let mut spin = Spin::new();
        short_sleeps_to_maximum(&mut spin);
        assert_eq!(wait(&mut spin, 201), CHECKS);
        assert_eq!(wait(&mut spin, 200), 2 * CHECKS, "without a rest");
    }
}
