//! Waits for records: decides when an end polls, how often, and when it sleeps until it is rung.
//!
//! For [`LINGER`] after a command that it has sent or received, an end polls without a sleep and
//! yields between two checks. The answer arrives soon, and the next command often follows at once;
//! a sleep or an interrupt costs more than a check. After that, the interval between checks grows
//! with the age of the command: it is *age*² / 1000 s, from 100 µs to 200 ms.
//!
//! | last command | delay  | meanwhile                                    |
//! |--------------|--------|----------------------------------------------|
//! | 0.3 s ago    | 100 µs | a person types                               |
//! | 1 s          | 1 ms   | a person types, and thinks                   |
//! | 3 s          | 10 ms  | a person may type again                      |
//! | 14 s         | 200 ms | no one types, and each check wakes a processor |
//!
//! For KMON, output counts like a command of 3 s ago. An end that can be rung polls only while
//! polling costs less than a ring; after that it sleeps until it is rung.
//!
//! Reading the clock can cost more than a check, as in a virtual machine with an emulated clock. So
//! the clock is read once for each check.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel};
use std::thread;
use std::time::{Duration, Instant};

use shmem_core::doorbell::Doorbell;
use shmem_core::primitive::AtomicU32;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::{Pause, Wait};
use shmem_sync::EventBell;

use super::idle_task::IdleTask;

/// How long an end polls without a sleep after a command.
const LINGER: Duration = Duration::from_millis(1);
const SHORTEST: Duration = Duration::from_micros(100);
const LONGEST: Duration = Duration::from_millis(200);
/// The age of the command as which output counts for KMON.
const OUTPUT: Duration = Duration::from_secs(3);
/// The longest wait, so that the deadline does not overflow.
const FOREVER: Duration = Duration::from_secs(1 << 20);

/// The end that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// It receives output.
    Monitor,
    /// It receives commands.
    Instance,
}

/// Ends a sleep of the receiving half of an end, in the same process, when the sending half has
/// sent a command and expects an answer.
#[derive(Clone)]
pub(super) struct Nudge {
    is_sent: Arc<AtomicBool>,
    bell: Arc<EventBell>,
}

impl Nudge {
    /// Creates a nudge for an end that sleeps on `bell`.
    pub(super) fn new(bell: Arc<EventBell>) -> Self {
        let is_sent = Arc::default();
        Self { is_sent, bell }
    }

    pub(super) fn send(&self) {
        self.is_sent.swap(true, AcqRel);
        self.bell.ring(&AtomicU32::new(0));
    }

    fn take(&self) -> bool {
        self.is_sent.swap(false, AcqRel)
    }
}

/// The intervals of an end's checks, across waits.
pub(super) struct BackOff {
    side: Side,
    /// When the last command was sent or received.
    since: Instant,
    nudge: Option<Nudge>,
}

impl BackOff {
    pub(super) fn new(side: Side, nudge: Option<Nudge>) -> Self {
        let since = before(Instant::now(), OUTPUT);
        Self { side, since, nudge }
    }

    /// Notes a record that was received at `now`.
    fn note_record(&mut self, now: Instant) {
        self.since = match self.side {
            Side::Monitor => self.since.max(before(now, OUTPUT)),
            Side::Instance => now,
        };
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Returns how long after a command an end that can be rung polls.
    fn poll_time(&self) -> Duration {
        match self.side {
            Side::Monitor => Duration::from_millis(5),
            // While a person types: for a machine, polling costs less than an interrupt that wakes
            // it.
            Side::Instance => Duration::from_millis(200),
        }
    }

    /// Returns how long to sleep between two checks.
    fn delay(&self, now: Instant) -> Duration {
        let age = self.age(now).min(FOREVER).as_micros() as u64;
        // age² / 1000 s, in microseconds.
        let delay = age.saturating_mul(age) / 1_000_000_000;
        Duration::from_micros(delay).clamp(SHORTEST, LONGEST)
    }
}

fn before(now: Instant, span: Duration) -> Instant {
    now.checked_sub(span).unwrap_or(now)
}

/// One wait for records.
pub(super) struct RecordWait<'p> {
    back_off: &'p mut BackOff,
    idle_task: &'p mut dyn IdleTask,
    /// The doorbell that rings this end, if it can be rung.
    bell: Option<&'p EventBell>,
    deadline: Instant,
    /// When the clock was last read.
    now: Instant,
    has_slept: bool,
    /// It was rung: the wait ends, whatever the reason.
    is_rung: bool,
}

impl<'p> RecordWait<'p> {
    pub(super) fn new(
        back_off: &'p mut BackOff,
        idle_task: &'p mut dyn IdleTask,
        bell: Option<&'p EventBell>,
        timeout: Duration,
    ) -> Self {
        let now = Instant::now();
        Self {
            back_off,
            idle_task,
            bell,
            deadline: now + timeout.min(FOREVER),
            now,
            has_slept: false,
            is_rung: false,
        }
    }

    /// Ends the wait after a record was found.
    pub(super) fn note_record(self) {
        self.back_off.note_record(self.now);
    }

    /// Updates the time after a sleep or a yield. Returns true if this end has sent a command
    /// meanwhile.
    fn wake(&mut self) -> bool {
        self.now = Instant::now();
        let nudge = self.back_off.nudge.as_ref();
        let is_nudged = nudge.is_some_and(Nudge::take);
        if is_nudged {
            self.back_off.since = self.now;
        }
        is_nudged
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(self.now)
    }
}

impl Wait for RecordWait<'_> {
    fn pause(&mut self) -> Pause {
        // Here, where the bell is not armed: an end that is awake need not be rung.
        if std::mem::take(&mut self.has_slept) {
            self.idle_task.step();
        }
        if self.is_rung || self.left().is_zero() {
            return Pause::TimedOut;
        }
        let age = self.back_off.age(self.now);
        if age < LINGER {
            thread::yield_now();
        } else if self.bell.is_some() && age >= self.back_off.poll_time() {
            return Pause::Sleep;
        } else {
            let delay = self.back_off.delay(self.now).min(self.left());
            let nudge = self.back_off.nudge.as_ref().map(|nudge| &*nudge.bell);
            if self.idle_task.sleep(nudge.map(AsFd::as_fd), delay) {
                nudge.map(EventBell::take);
            }
        }
        self.idle_task.step();
        self.wake();
        Pause::Again
    }

    fn sleep(&mut self, ring_count: &AtomicU32, seen: u32) {
        let Some(bell) = self.bell else {
            return; // `pause` does not request a sleep without a bell.
        };
        // Relaxed: a ring that is not seen here has signalled the eventfd.
        self.is_rung = ring_count.load(Relaxed) != seen;
        if self.is_rung {
            return;
        }
        let is_rung = self.idle_task.sleep(Some(bell.as_fd()), self.left()) && bell.take();
        self.has_slept = true;
        // A command of this end itself is not a ring.
        self.is_rung = !self.wake() && is_rung;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Idle;
    use super::*;

    fn nudge() -> Nudge {
        Nudge::new(Arc::new(EventBell::new().unwrap()))
    }

    fn instance() -> BackOff {
        BackOff::new(Side::Instance, None)
    }

    fn monitor() -> BackOff {
        BackOff::new(Side::Monitor, Some(nudge()))
    }

    /// Returns how long a wait without a record takes.
    fn wait(back_off: &mut BackOff, bell: Option<&EventBell>, timeout: Duration) -> Duration {
        let started = Instant::now();
        let idle = &mut Idle;
        let mut wait = RecordWait::new(back_off, idle, bell, timeout);
        loop {
            match wait.pause() {
                Pause::Again => {}
                Pause::Sleep => wait.sleep(&AtomicU32::new(0), 0),
                Pause::TimedOut => return started.elapsed(),
            }
        }
    }

    #[test]
    fn intervals_grow_while_no_record_arrives() {
        let back_off = instance();
        let ages = [0, 5, 300, 1000, 3000, 5000, 14_000, 14_200, 1 << 30];
        let delays = [100, 100, 100, 1000, 9000, 25_000, 196_000, 200_000, 200_000];
        for (age, delay) in ages.into_iter().zip(delays) {
            let now = back_off.since + Duration::from_millis(age);
            assert_eq!(back_off.delay(now).as_micros(), delay, "{age} ms");
        }
    }

    #[test]
    fn a_command_shortens_the_interval_and_output_does_not() {
        let now = Instant::now();
        let mut taken = instance();
        assert!(taken.age(now) > LINGER);
        taken.note_record(now);
        assert_eq!(taken.age(now), Duration::ZERO);

        let mut sent = monitor();
        sent.note_record(now + OUTPUT);
        assert_eq!(sent.age(now + OUTPUT), OUTPUT);
        sent.since = now;
        sent.note_record(now + LINGER);
        assert_eq!(sent.since, now, "output does not count as a newer command");
        sent.nudge.as_ref().unwrap().send();
        wait(&mut sent, None, Duration::from_millis(1));
        assert!(sent.since > now);
    }

    #[test]
    fn a_command_ends_a_sleep_but_not_the_wait() {
        let timeout = Duration::from_millis(100);
        for is_rung in [false, true] {
            let mut back_off = monitor();
            let nudge = back_off.nudge.clone().unwrap();
            back_off.since = before(Instant::now(), Duration::from_secs(60));
            let earlier = back_off.since;
            nudge.send();
            let bell = is_rung.then_some(&*nudge.bell);
            assert!(wait(&mut back_off, bell, timeout) >= timeout);
            assert!(back_off.since > earlier);
        }
    }

    #[test]
    fn a_ring_ends_the_wait_of_an_end_that_sleeps() {
        let bell = EventBell::new().unwrap();
        let mut back_off = instance();
        bell.ring(&AtomicU32::new(0));
        assert!(wait(&mut back_off, Some(&bell), FOREVER) < FOREVER);
        assert!(!bell.take(), "the ring was consumed");
        // The count shows a ring that preceded the sleep.
        let idle = &mut Idle;
        let mut wait = RecordWait::new(&mut back_off, idle, Some(&bell), FOREVER);
        wait.sleep(&AtomicU32::new(1), 0);
        assert_eq!(wait.pause(), Pause::TimedOut);
    }

    #[test]
    fn an_end_that_can_be_rung_polls_while_a_person_types() {
        let bell = EventBell::new().unwrap();
        for (mut back_off, awake) in [(monitor(), 5), (instance(), 200)] {
            let awake = Duration::from_millis(awake);
            back_off.since = before(Instant::now(), awake / 2);
            let sleeps = |back_off: &mut BackOff| {
                let idle = &mut Idle;
                let mut wait = RecordWait::new(back_off, idle, Some(&bell), FOREVER);
                wait.pause() == Pause::Sleep
            };
            assert!(!sleeps(&mut back_off));
            back_off.since = before(Instant::now(), awake);
            assert!(sleeps(&mut back_off));
        }
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        let timeout = Duration::from_millis(5);
        let waited = wait(&mut instance(), None, timeout);
        assert!(waited >= timeout && waited < LONGEST);
    }
}
