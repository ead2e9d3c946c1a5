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
