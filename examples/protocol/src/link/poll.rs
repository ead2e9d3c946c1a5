//! Looking for records where nobody rings: how often, and at what cost.
//!
//! The delay between two looks begins at [`SHORTEST`] and doubles up to a limit:
//!
//! | last                       | limit  | for                                           |
//! |----------------------------|--------|-----------------------------------------------|
//! | command less than 5 ms ago | 100 µs | its answer, or the next one, is on its way    |
//! | command less than 1 s ago  | 1 ms   | somebody types, and wants an answer           |
//! | record less than 5 s ago   | 10 ms  | somebody may type again                       |
//! | earlier                    | 100 ms | nobody does, and each look wakes a processor  |
//!
//! Where reading the clock is slow, as for a virtual machine whose time comes from an emulated
//! device, it costs more than the look: it is read once for each.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use shmem_core::primitive::AtomicU32;
use shmem_core::wait::{Pause, Wait};

/// The first delay.
const SHORTEST: Duration = Duration::from_micros(50);
const ANSWER: Duration = Duration::from_millis(5);
const ANSWER_LIMIT: Duration = Duration::from_micros(100);
const TYPING: Duration = Duration::from_secs(1);
const TYPING_LIMIT: Duration = Duration::from_millis(1);
const LIVELY: Duration = Duration::from_secs(5);
const LIVELY_LIMIT: Duration = Duration::from_millis(10);
const QUIET_LIMIT: Duration = Duration::from_millis(100);
/// The longest wait: a clock has an end.
const LONGEST: Duration = Duration::from_secs(1 << 20);

/// How often one end looks, from one wait to the next.
pub(super) struct Pace {
    delay: Duration,
    /// When the last record came.
    heard: Instant,
    /// When the last command was sent, or came.
    commanded: Option<Instant>,
    /// Given with each command that this end sends; an end that has none receives commands.
    nudge: Option<Nudge>,
}

impl Pace {
    pub(super) fn new(nudge: Option<Nudge>) -> Self {
        Self {
            delay: SHORTEST,
            heard: Instant::now(),
            commanded: None,
            nudge,
        }
    }

    /// The longest delay at `now`.
    fn limit(&self, now: Instant) -> Duration {
        let is_within = |since: Instant, span| now.saturating_duration_since(since) < span;
        let commanded_within = |span| self.commanded.is_some_and(|at| is_within(at, span));
        if commanded_within(ANSWER) {
            ANSWER_LIMIT
        } else if commanded_within(TYPING) {
            TYPING_LIMIT
        } else if is_within(self.heard, LIVELY) {
            LIVELY_LIMIT
        } else {
            QUIET_LIMIT
        }
    }
}

/// One wait.
pub(super) struct Poll<'p> {
    pace: &'p mut Pace,
    deadline: Instant,
    /// When the clock was read last.
    now: Instant,
}

impl<'p> Poll<'p> {
    pub(super) fn timeout(pace: &'p mut Pace, timeout: Duration) -> Self {
        let now = Instant::now();
        Self {
            pace,
            deadline: now + timeout.min(LONGEST),
            now,
        }
    }

    /// Ends the wait, which has found a record: the next one begins with short delays.
    pub(super) fn found(self) {
        (self.pace.delay, self.pace.heard) = (SHORTEST, self.now);
        if self.pace.nudge.is_none() {
            self.pace.commanded = Some(self.now);
        }
    }
}

impl Wait for Poll<'_> {
    fn pause(&mut self) -> Pause {
        let left = self.deadline.saturating_duration_since(self.now);
        if left.is_zero() {
            return Pause::TimedOut;
        }
        let limit = self.pace.limit(self.now);
        let delay = self.pace.delay.min(limit);
        let nudged = match &self.pace.nudge {
            Some(nudge) => nudge.wait(delay.min(left)),
            None => {
                thread::sleep(delay.min(left));
                false
            }
        };
        self.now = Instant::now();
        self.pace.delay = (delay * 2).min(limit);
        if nudged {
            (self.pace.delay, self.pace.commanded) = (SHORTEST, Some(self.now));
        }
        Pause::Again
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {}
}

/// Ends one delay early, in this process: whoever has sent something expects an answer.
#[derive(Clone, Default)]
pub(super) struct Nudge(Arc<(Mutex<bool>, Condvar)>);

impl Nudge {
    pub(super) fn give(&self) {
        let (given, changed) = &*self.0;
        *given.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_one();
    }

    /// Waits up to `delay`; whether it was given.
    fn wait(&self, delay: Duration) -> bool {
        let (given, changed) = &*self.0;
        let mut given = given.lock().unwrap_or_else(PoisonError::into_inner);
        if !*given {
            let waited = changed.wait_timeout(given, delay);
            given = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::take(&mut *given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_rarer_the_longer_nothing_comes() {
        let mut pace = Pace::new(None);
        let start = pace.heard;
        pace.commanded = Some(start);
        let limits = [0, 4, 6, 900, 1100, 4900, 5100]
            .map(|ms| pace.limit(start + Duration::from_millis(ms)).as_micros());
        assert_eq!(limits, [100, 100, 1000, 1000, 10_000, 10_000, 100_000]);
    }

    #[test]
    fn output_alone_does_not_make_the_monitor_look_as_often_as_a_command() {
        for (nudge, expected) in [(None, ANSWER_LIMIT), (Some(Nudge::default()), LIVELY_LIMIT)] {
            let mut pace = Pace::new(nudge);
            Poll::timeout(&mut pace, Duration::ZERO).found();
            assert_eq!(pace.limit(pace.heard), expected);
        }
    }

    #[test]
    fn a_command_ends_a_long_delay() {
        let nudge = Nudge::default();
        let mut pace = Pace::new(Some(nudge.clone()));
        pace.delay = QUIET_LIMIT;
        nudge.give();
        let mut poll = Poll::timeout(&mut pace, Duration::from_secs(3600));
        assert_eq!(poll.pause(), Pause::Again);
        assert_eq!(poll.pace.delay, SHORTEST);
        assert_eq!(poll.pace.limit(poll.now), ANSWER_LIMIT);
    }

    #[test]
    fn a_nudge_ends_one_delay_even_if_it_comes_before() {
        let nudge = Nudge::default();
        nudge.give();
        assert!(nudge.wait(Duration::MAX));
        assert!(!nudge.wait(Duration::from_millis(1)));
    }

    #[test]
    fn a_wait_ends_at_its_deadline_with_the_delay_that_it_has_come_to() {
        let mut pace = Pace::new(None);
        let mut poll = Poll::timeout(&mut pace, Duration::from_millis(5));
        while poll.pause() == Pause::Again {}
        assert!(poll.now >= poll.deadline);
        assert!(pace.delay > SHORTEST && pace.delay <= LIVELY_LIMIT);
    }
}
