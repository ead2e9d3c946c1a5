//! Looking for records: how often where nobody rings, at what cost, and when at once.
//!
//! For [`LINGER`] after a command that it sent or was sent an end looks without a sleep, and
//! gives way between two looks: the answer is on its way, and who reads it often sends the next
//! command at once; a sleep, or an interrupt, costs more than to look. Then it looks the more
//! rarely the longer ago the command is: after *age*² / 1000 s, from 100 µs to 200 ms.
//!
//! | last command | delay  | for                                          |
//! |--------------|--------|----------------------------------------------|
//! | 0.3 s ago    | 100 µs | somebody types                               |
//! | 1 s          | 1 ms   | somebody types, and thinks                   |
//! | 3 s          | 10 ms  | somebody may type again                      |
//! | 14 s         | 200 ms | nobody does, and each look wakes a processor |
//!
//! KMON takes output for a command of 3 s ago. An end that is rung looks for itself only while
//! that takes less than to be rung, and then sleeps until it is.
//!
//! Where reading the clock is slow, as for a virtual machine whose time comes from an emulated
//! device, it costs more than the look: it is read once for each.

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

/// How long an end looks without a sleep after a command.
const LINGER: Duration = Duration::from_millis(1);
const SHORTEST: Duration = Duration::from_micros(100);
const LONGEST: Duration = Duration::from_millis(200);
/// How long ago the command is for which KMON takes output.
const OUTPUT: Duration = Duration::from_secs(3);
/// The longest wait: a clock has an end.
const FOREVER: Duration = Duration::from_secs(1 << 20);

/// Which end it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// It receives output.
    Monitor,
    /// It receives commands.
    Instance,
}

/// Ends a sleep of the half of an end that receives, in the same process: the other half has
/// sent a command, to which an answer is expected.
#[derive(Clone)]
pub(super) struct Nudge {
    given: Arc<AtomicBool>,
    bell: Arc<EventBell>,
}

impl Nudge {
    /// For an end that sleeps on `bell`.
    pub(super) fn new(bell: Arc<EventBell>) -> Self {
        let given = Arc::default();
        Self { given, bell }
    }

    pub(super) fn give(&self) {
        self.given.swap(true, AcqRel);
        self.bell.ring(&AtomicU32::new(0));
    }

    fn take(&self) -> bool {
        self.given.swap(false, AcqRel)
    }
}

/// How often one end looks, from one wait to the next.
pub(super) struct BackOff {
    side: Side,
    /// When the last command was sent, or came.
    since: Instant,
    nudge: Option<Nudge>,
}

impl BackOff {
    pub(super) fn new(side: Side, nudge: Option<Nudge>) -> Self {
        let since = before(Instant::now(), OUTPUT);
        Self { side, since, nudge }
    }

    /// Notes a record that was found at `now`.
    fn found(&mut self, now: Instant) {
        self.since = match self.side {
            Side::Monitor => self.since.max(before(now, OUTPUT)),
            Side::Instance => now,
        };
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// How long after a command an end that is rung looks for itself.
    fn awake(&self) -> Duration {
        match self.side {
            Side::Monitor => Duration::from_millis(5),
            // While somebody types: to look takes a machine less than an interrupt that wakes it.
            Side::Instance => Duration::from_millis(200),
        }
    }

    /// How long to sleep between two looks.
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
pub(super) struct Look<'p> {
    back_off: &'p mut BackOff,
    idle_task: &'p mut dyn IdleTask,
    /// What rings this end, if anything does.
    bell: Option<&'p EventBell>,
    deadline: Instant,
    /// When the clock was read last.
    now: Instant,
    has_slept: bool,
    /// It was rung: the wait is over whatever for.
    is_rung: bool,
}

impl<'p> Look<'p> {
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

    /// Ends the wait, which has found a record.
    pub(super) fn found(self) {
        self.back_off.found(self.now);
    }

    /// The end has slept, or given way. Returns whether it has sent a command meanwhile.
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

impl Wait for Look<'_> {
    fn pause(&mut self) -> Pause {
        // Here, where the bell is not armed: who is awake need not be rung.
        if std::mem::take(&mut self.has_slept) {
            self.idle_task.step();
        }
        if self.is_rung || self.left().is_zero() {
            return Pause::TimedOut;
        }
        let age = self.back_off.age(self.now);
        if age < LINGER {
            thread::yield_now();
        } else if self.bell.is_some() && age >= self.back_off.awake() {
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

    fn sleep(&mut self, rings: &AtomicU32, seen: u32) {
        let Some(bell) = self.bell else {
            return; // It was not asked for.
        };
        // Relaxed: a ring that is not seen here has left its event.
        self.is_rung = rings.load(Relaxed) != seen;
        if self.is_rung {
            return;
        }
        let is_rung = self.idle_task.sleep(Some(bell.as_fd()), self.left()) && bell.take();
        self.has_slept = true;
        // The end's own command is no ring.
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

    /// How long a wait for something that does not come takes.
    fn wait(back_off: &mut BackOff, bell: Option<&EventBell>, timeout: Duration) -> Duration {
        let started = Instant::now();
        let idle = &mut Idle;
        let mut look = Look::new(back_off, idle, bell, timeout);
        loop {
            match look.pause() {
                Pause::Again => {}
                Pause::Sleep => look.sleep(&AtomicU32::new(0), 0),
                Pause::TimedOut => return started.elapsed(),
            }
        }
    }

    #[test]
    fn looks_become_rarer_the_longer_nothing_comes() {
        let back_off = instance();
        let ages = [0, 5, 300, 1000, 3000, 5000, 14_000, 14_200, 1 << 30];
        let delays = [100, 100, 100, 1000, 9000, 25_000, 196_000, 200_000, 200_000];
        for (age, delay) in ages.into_iter().zip(delays) {
            let now = back_off.since + Duration::from_millis(age);
            assert_eq!(back_off.delay(now).as_micros(), delay, "{age} ms");
        }
    }

    #[test]
    fn a_command_makes_either_end_look_at_once_and_output_does_not() {
        let now = Instant::now();
        let mut taken = instance();
        assert!(taken.age(now) > LINGER);
        taken.found(now);
        assert_eq!(taken.age(now), Duration::ZERO);

        let mut sent = monitor();
        sent.found(now + OUTPUT);
        assert_eq!(sent.age(now + OUTPUT), OUTPUT);
        sent.since = now;
        sent.found(now + LINGER);
        assert_eq!(sent.since, now, "output is no older command");
        sent.nudge.as_ref().unwrap().give();
        wait(&mut sent, None, Duration::from_millis(1));
        assert!(sent.since > now);
    }

    #[test]
    fn a_command_ends_a_sleep_and_the_wait_goes_on() {
        let timeout = Duration::from_millis(100);
        for is_rung in [false, true] {
            let mut back_off = monitor();
            let nudge = back_off.nudge.clone().unwrap();
            back_off.since = before(Instant::now(), Duration::from_secs(60));
            let earlier = back_off.since;
            nudge.give();
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
        assert!(!bell.take(), "the next sleep is one");
        // A ring that came before the sleep is seen by its count.
        let idle = &mut Idle;
        let mut look = Look::new(&mut back_off, idle, Some(&bell), FOREVER);
        look.sleep(&AtomicU32::new(1), 0);
        assert_eq!(look.pause(), Pause::TimedOut);
    }

    #[test]
    fn an_end_that_is_rung_looks_for_itself_while_somebody_types() {
        let bell = EventBell::new().unwrap();
        for (mut back_off, awake) in [(monitor(), 5), (instance(), 200)] {
            let awake = Duration::from_millis(awake);
            back_off.since = before(Instant::now(), awake / 2);
            let sleeps = |back_off: &mut BackOff| {
                let idle = &mut Idle;
                let mut look = Look::new(back_off, idle, Some(&bell), FOREVER);
                look.pause() == Pause::Sleep
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
