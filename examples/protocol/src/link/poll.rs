//! Looking for records: how often where nobody rings, at what cost, and when at once.
//!
//! An end looks for [`LINGER`] behind each command that it sent or was sent, and gives way
//! between two looks: the answer is on its way, and whoever has it often has the next command
//! at once; a sleep, or an interrupt, costs more than to look. Otherwise an end sleeps from
//! look to look; the delay begins at [`SHORTEST`] and doubles up to a limit. Where they are
//! rung, each does so in its first row only, and then sleeps until it is rung.
//!
//! | last                         | KMON   | instance | for                                          |
//! |------------------------------|--------|----------|----------------------------------------------|
//! | command less than 5 ms ago   | 100 µs | 100 µs   | its answer, or the next one, is on its way   |
//! | command less than 200 ms ago | 250 µs | the same | somebody types: the next key                 |
//! | command less than 1 s ago    | 1 ms   | 1 ms     | somebody types, and thinks                   |
//! | record less than 5 s ago     | 10 ms  | 10 ms    | somebody may type again                      |
//! | record less than 30 s ago    | 50 ms  | 50 ms    | somebody reads                               |
//! | earlier                      | 200 ms | 200 ms   | nobody does, and each look wakes a processor |
//!
//! From 5 ms on an end that has sent output since its last look waits 5 ms at least, or until its
//! [`Sideline`] has more: who prints without end needs the processor more than a key that is typed
//! meanwhile.
//!
//! Where reading the clock is slow, as for a virtual machine whose time comes from an emulated
//! device, it costs more than the look: it is read once for each.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use shmem_core::primitive::AtomicU32;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::{Pause, Wait};
use shmem_sync::EventBell;

use super::bells::Nap;
use super::nudge::Nudge;
use super::sideline::Sideline;

/// How long an end looks without a sleep behind a command.
const LINGER: Duration = Duration::from_millis(1);
/// The first delay.
const SHORTEST: Duration = Duration::from_micros(50);
/// Up to which age of the last command the limit holds, for KMON.
const BEHIND_SENT: [(Duration, Duration); 3] = [
    (Duration::from_millis(5), Duration::from_micros(100)),
    (Duration::from_millis(200), Duration::from_micros(250)),
    (Duration::from_secs(1), Duration::from_millis(1)),
];
/// The same for an instance.
const BEHIND_TAKEN: [(Duration, Duration); 2] = [
    (Duration::from_millis(200), Duration::from_micros(100)),
    (Duration::from_secs(1), Duration::from_millis(1)),
];
/// The shortest limit while output flows, and the age of the last command from which on.
const FLOW_LIMIT: Duration = Duration::from_millis(5);
/// Up to which age of the last record the limit holds.
const BEHIND_RECORD: [(Duration, Duration); 2] = [
    (Duration::from_secs(5), Duration::from_millis(10)),
    (Duration::from_secs(30), Duration::from_millis(50)),
];
const QUIET_LIMIT: Duration = Duration::from_millis(200);
/// The longest wait: a clock has an end.
pub(super) const LONGEST: Duration = Duration::from_secs(1 << 20);

/// How often one end looks, from one wait to the next.
pub(super) struct Pace {
    delay: Duration,
    /// When the last record came.
    heard: Instant,
    /// When the last command was sent, or came.
    commanded: Option<Instant>,
    role: Role,
}

/// What an end looks for.
pub(super) enum Role {
    /// The output of the other end, to which its half that sends gives commands.
    Monitor(Nudge),
    /// Commands.
    Instance {
        output: Output,
        /// Of [`Output`], at the last look.
        seen: u32,
    },
}

impl Role {
    /// Of an end whose other half sends `output`.
    pub(super) fn instance(output: Output) -> Self {
        Self::Instance { output, seen: 0 }
    }
}

/// Counts what an instance's end has sent, for its half that receives.
#[derive(Clone, Default)]
pub(super) struct Output(Arc<AtomicU32>);

impl Output {
    pub(super) fn count(&self) {
        // Relaxed: it says how busy this end is, and nothing of the ring.
        self.0.fetch_add(1, Relaxed);
    }
}

impl Pace {
    pub(super) fn new(role: Role) -> Self {
        Self {
            delay: SHORTEST,
            heard: Instant::now(),
            commanded: None,
            role,
        }
    }

    fn nudge(&self) -> Option<&Nudge> {
        match &self.role {
            Role::Monitor(nudge) => Some(nudge),
            Role::Instance { .. } => None,
        }
    }

    /// Whether this end has sent output since the last call.
    fn output_flows(&mut self) -> bool {
        match &mut self.role {
            Role::Monitor(_) => false,
            Role::Instance { output, seen } => {
                let count = output.0.load(Relaxed);
                std::mem::replace(seen, count) != count
            }
        }
    }

    /// Notes a record that was found at `now`: the next wait begins with short delays.
    fn found(&mut self, now: Instant) {
        (self.delay, self.heard) = (SHORTEST, now);
        if self.nudge().is_none() {
            self.commanded = Some(now);
        }
    }

    /// Notes a command that this end has sent.
    fn nudged(&mut self, now: Instant) {
        (self.delay, self.commanded) = (SHORTEST, Some(now));
    }

    /// Up to which age of the last command which limit holds.
    fn behind_command(&self) -> &'static [(Duration, Duration)] {
        match self.role {
            Role::Instance { .. } => &BEHIND_TAKEN,
            Role::Monitor(_) => &BEHIND_SENT,
        }
    }

    /// How long behind a command an end that is rung looks for itself: an instance while
    /// somebody types, as to look takes a machine less than an interrupt that wakes it.
    fn linger(&self) -> Duration {
        self.behind_command()[0].0
    }

    /// Whether to look again without a sleep.
    fn gives_way(&self, now: Instant) -> bool {
        self.is_behind_command(now, LINGER)
    }

    /// Whether the last command is younger than `span`.
    fn is_behind_command(&self, now: Instant, span: Duration) -> bool {
        self.commanded.is_some_and(|at| is_within(now, at, span))
    }

    /// The longest delay at `now`.
    fn limit(&mut self, now: Instant) -> Duration {
        let flows = self.output_flows() && !self.is_behind_command(now, FLOW_LIMIT);
        let within = |since, tiers: &[(Duration, Duration)]| {
            let tier = tiers.iter().find(|(span, _)| is_within(now, since, *span));
            tier.map(|(_, limit)| *limit)
        };
        let behind = self.commanded.map(|at| within(at, self.behind_command()));
        let limit = behind.flatten().or(within(self.heard, &BEHIND_RECORD));
        let least = if flows { FLOW_LIMIT } else { Duration::ZERO };
        limit.unwrap_or(QUIET_LIMIT).max(least)
    }
}

fn is_within(now: Instant, since: Instant, span: Duration) -> bool {
    now.saturating_duration_since(since) < span
}

/// One wait, without a ring.
pub(super) struct Poll<'p> {
    pace: &'p mut Pace,
    sideline: &'p mut dyn Sideline,
    deadline: Instant,
    /// When it stops looking for itself.
    end: Instant,
    /// When the clock was read last.
    now: Instant,
}

impl<'p> Poll<'p> {
    pub(super) fn timeout(
        pace: &'p mut Pace,
        sideline: &'p mut dyn Sideline,
        timeout: Duration,
    ) -> Self {
        let now = Instant::now();
        let deadline = now + timeout.min(LONGEST);
        Self {
            pace,
            sideline,
            deadline,
            end: deadline,
            now,
        }
    }

    /// Looks no longer than it is worth it behind a command to an end that is rung.
    pub(super) fn linger(
        pace: &'p mut Pace,
        sideline: &'p mut dyn Sideline,
        timeout: Duration,
    ) -> Self {
        let mut poll = Self::timeout(pace, sideline, timeout);
        let span = poll.pace.linger();
        let end = poll.pace.commanded.map_or(poll.now, |at| at + span);
        poll.end = poll.deadline.min(end);
        poll
    }

    /// Whether to [nap](Poll::nap) now; [`Poll::wake`] is due behind that. Not where
    /// this end has sent a command meanwhile.
    pub(super) fn lie_down(&mut self) -> bool {
        let Some(nudge) = self.pace.nudge() else {
            return true;
        };
        let lies = !self.pace.is_behind_command(self.now, self.pace.linger()) && nudge.lie_down();
        if !lies {
            self.wake();
        }
        lies
    }

    /// A sleep on `bell` for the rest of the wait.
    pub(super) fn nap<'b>(&'b mut self, bell: &'b EventBell) -> Nap<'b> {
        Nap::new(self.sideline, bell, self.deadline)
    }

    /// The end has slept, or given way.
    pub(super) fn wake(&mut self) {
        self.now = Instant::now();
        if self.pace.nudge().is_some_and(Nudge::take) {
            self.pace.nudged(self.now);
        }
    }

    /// Ends the wait, which has found a record.
    pub(super) fn found(self) {
        self.pace.found(self.now);
    }
}

impl Wait for Poll<'_> {
    fn pause(&mut self) -> Pause {
        let left = self.end.saturating_duration_since(self.now);
        if left.is_zero() {
            return Pause::TimedOut;
        }
        if self.pace.gives_way(self.now) {
            thread::yield_now();
            self.sideline.turn();
            self.wake();
            return Pause::Again;
        }
        let limit = self.pace.limit(self.now);
        let delay = self.pace.delay.min(limit);
        let nudged = match self.pace.nudge() {
            Some(nudge) => nudge.wait(delay.min(left)),
            None => {
                self.sideline.sleep(None, delay.min(left));
                self.sideline.turn();
                false
            }
        };
        self.now = Instant::now();
        self.pace.delay = (delay * 2).min(limit);
        if nudged {
            self.pace.nudged(self.now);
        }
        Pause::Again
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {}
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::super::Idle;
    use super::*;

    fn instance() -> Pace {
        Pace::new(Role::instance(Output::default()))
    }

    fn monitor() -> Pace {
        Pace::new(Role::Monitor(Nudge::default()))
    }

    #[test]
    fn while_output_flows_looks_are_rare_but_directly_behind_a_command() {
        let output = Output::default();
        let mut pace = Pace::new(Role::instance(output.clone()));
        let start = pace.heard;
        pace.commanded = Some(start);
        let limits = [4, 6, 199, 900, 1100].map(|ms| {
            output.count();
            pace.limit(start + Duration::from_millis(ms)).as_micros()
        });
        assert_eq!(limits, [100, 5000, 5000, 5000, 10_000]);
        let limit = pace.limit(start + Duration::from_millis(6));
        assert_eq!(limit, BEHIND_TAKEN[0].1);
    }

    #[test]
    fn looks_become_rarer_the_longer_nothing_comes() {
        for (mut pace, typing) in [(instance(), 100), (monitor(), 250)] {
            let start = pace.heard;
            pace.commanded = Some(start);
            let limits = [0, 4, 6, 199, 201, 900, 1100, 4900, 5100, 29_000, 31_000]
                .map(|ms| pace.limit(start + Duration::from_millis(ms)).as_micros());
            let rarer = [1000, 1000, 10_000, 10_000, 50_000, 50_000, 200_000];
            assert_eq!(limits[..2], [100, 100]);
            assert_eq!(limits[2..4], [typing, typing]);
            assert_eq!(limits[4..], rarer);
        }
    }

    #[test]
    fn behind_a_command_both_ends_linger() {
        let idle = &mut Idle;
        let mut pace = instance();
        let start = pace.heard;
        assert!(!pace.gives_way(start));
        assert_eq!(
            Poll::linger(&mut pace, idle, LONGEST).pause(),
            Pause::TimedOut
        );
        pace.found(start);
        assert!(pace.gives_way(start + LINGER - Duration::from_nanos(1)));
        assert!(!pace.gives_way(start + LINGER));
        pace.found(Instant::now());
        let at = pace.commanded.unwrap();
        let mut poll = Poll::linger(&mut pace, idle, LONGEST);
        while poll.pause() == Pause::Again {}
        assert!(poll.now >= at + BEHIND_TAKEN[0].0);
        assert!(poll.lie_down());
        let nudge = Nudge::default();
        let mut sender = Pace::new(Role::Monitor(nudge.clone()));
        sender.nudged(Instant::now());
        let first = sender.commanded;
        nudge.give();
        assert_eq!(
            Poll::timeout(&mut sender, idle, LONGEST).pause(),
            Pause::Again
        );
        assert!(sender.commanded > first && sender.gives_way(sender.commanded.unwrap()));
    }

    #[test]
    fn a_command_ends_a_sleep_on_the_bell_and_lets_nobody_lie_down() {
        let idle = &mut Idle;
        let bell = Arc::new(EventBell::new().unwrap());
        let nudge = Nudge::new(Some(Arc::clone(&bell)));
        let mut pace = Pace::new(Role::Monitor(nudge.clone()));
        let mut event = File::from(bell.as_fd().try_clone_to_owned().unwrap());
        let mut rings = || event.read(&mut [0; 8]).is_ok();
        nudge.give();
        assert!(!Poll::linger(&mut pace, idle, LONGEST).lie_down() && !rings());
        assert!(pace.commanded.is_some());
        assert!(!Poll::linger(&mut pace, idle, LONGEST).lie_down());
        pace.commanded = None;
        let mut poll = Poll::linger(&mut pace, idle, LONGEST);
        assert!(poll.lie_down());
        nudge.give();
        assert!(rings());
        poll.wake();
        assert!(pace.commanded.is_some());
        nudge.give();
        assert!(!rings());
    }

    #[test]
    fn output_alone_does_not_make_the_monitor_look_as_often_as_a_command() {
        let idle = &mut Idle;
        for (mut pace, expected) in [
            (instance(), BEHIND_TAKEN[0].1),
            (monitor(), BEHIND_RECORD[0].1),
        ] {
            Poll::timeout(&mut pace, idle, Duration::ZERO).found();
            assert_eq!(pace.limit(pace.heard), expected);
        }
    }

    #[test]
    fn a_command_ends_a_long_delay() {
        let idle = &mut Idle;
        let nudge = Nudge::default();
        let mut pace = Pace::new(Role::Monitor(nudge.clone()));
        pace.delay = QUIET_LIMIT;
        nudge.give();
        let mut poll = Poll::timeout(&mut pace, idle, Duration::from_secs(3600));
        assert_eq!(poll.pause(), Pause::Again);
        assert_eq!(poll.pace.delay, SHORTEST);
        assert_eq!(poll.pace.limit(poll.now), BEHIND_SENT[0].1);
    }

    #[test]
    fn a_wait_ends_at_its_deadline_with_the_delay_that_it_has_come_to() {
        let idle = &mut Idle;
        let mut pace = instance();
        let mut poll = Poll::timeout(&mut pace, idle, Duration::from_millis(5));
        while poll.pause() == Pause::Again {}
        assert!(poll.now >= poll.deadline);
        assert!(pace.delay > SHORTEST && pace.delay <= BEHIND_RECORD[0].1);
    }
}
