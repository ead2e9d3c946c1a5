//! How often an end looks for its peer before it sleeps.
//!
//! To sleep and to be woken takes a hundred times as long as an answer from another
//! processor. So an end that was woken soon after it fell asleep looks more often the next
//! time; where that brings nothing, since the peer needs this processor, it does not try
//! again for a while.

use core::time::Duration;

use crate::wait::{Waiter, LOOKS};

/// The most looks before a sleep: they take longer than it takes to be woken.
const MOST: u32 = 128 * LOOKS;

/// A sleep so short was hardly worth it.
const SHORT: Duration = Duration::from_micros(200);

/// The longest time, in waits, for which more looks are not tried again.
const LONGEST_REST: u32 = 1 << 10;

/// What an end has learnt of its waits.
#[derive(Clone, Copy)]
pub(crate) struct Spin {
    looks: u32,
    /// Short sleeps until more looks are tried again.
    rest: u32,
    /// The next rest.
    next_rest: u32,
}

impl Spin {
    pub(crate) const fn new() -> Self {
        Self {
            looks: LOOKS,
            rest: 0,
            next_rest: 1,
        }
    }

    /// Looks before the next wait sleeps.
    pub(crate) fn looks(&self) -> u32 {
        self.looks
    }

    /// Learns from a part of a wait, in which something was `found` or not.
    pub(crate) fn learn(&mut self, wait: &Waiter<'_>, found: bool) {
        let slept = wait.slept();
        if slept.is_zero() {
            if found && self.looks > LOOKS {
                self.next_rest = 1; // It was worth it.
            }
        } else if slept > SHORT {
            self.looks = LOOKS;
        } else if self.rest != 0 {
            self.rest -= 1;
        } else if self.looks < MOST {
            self.looks *= 2;
        } else {
            self.looks = LOOKS;
            self.rest = self.next_rest;
            self.next_rest = (self.next_rest * 2).min(LONGEST_REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::Ordering::Relaxed;

    use shmem_core::primitive::AtomicU32;
    use shmem_core::wait::Wait;

    use super::*;
    use crate::platform::{Platform, Reason};

    /// A clock, and how long a sleep takes, in microseconds.
    struct Clock(AtomicU32, u32);

    impl Platform for Clock {
        fn now(&self) -> Duration {
            Duration::from_micros(self.0.load(Relaxed).into())
        }

        fn sleep(&self, _: &AtomicU32, _: u32, _: Duration) {
            self.0.fetch_add(self.1, Relaxed);
        }

        fn wake(&self, _: &AtomicU32, _: Reason) {}
    }

    /// A wait that finds something after so many microseconds asleep, if it sleeps at all.
    fn wait(spin: &mut Spin, micros: u32) -> u32 {
        let clock = Clock(AtomicU32::new(1), micros);
        let mut wait = Waiter::new(&clock, Duration::from_secs(1));
        if micros != 0 {
            wait.sleep(&AtomicU32::new(0), 0);
        }
        spin.learn(&wait, true);
        spin.looks()
    }

    /// Short sleeps until the looks are the most.
    fn short_sleeps(spin: &mut Spin) -> usize {
        let tries = 1..5000;
        tries.take_while(|_| wait(spin, 50) != MOST).count() + 1
    }

    #[test]
    fn looks_double_with_each_short_sleep_and_are_given_up_ever_longer() {
        let mut spin = Spin::new();
        assert_eq!(wait(&mut spin, 50), 2 * LOOKS);
        assert_eq!(short_sleeps(&mut spin), 6);
        for rest in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024] {
            assert_eq!(wait(&mut spin, 50), LOOKS, "in vain");
            assert_eq!(short_sleeps(&mut spin), rest + 7);
        }
    }

    #[test]
    fn looks_that_find_something_are_tried_again_soon() {
        let mut spin = Spin::new();
        for _ in 0..5 {
            short_sleeps(&mut spin);
            wait(&mut spin, 50);
        }
        short_sleeps(&mut spin);
        assert_eq!(wait(&mut spin, 0), MOST);
        assert_eq!(wait(&mut spin, 50), LOOKS);
        assert_eq!(short_sleeps(&mut spin), 1 + 7);
    }

    #[test]
    fn a_long_sleep_ends_looking() {
        let mut spin = Spin::new();
        short_sleeps(&mut spin);
        assert_eq!(wait(&mut spin, 201), LOOKS);
        assert_eq!(wait(&mut spin, 200), 2 * LOOKS, "without a rest");
    }
}
