//! What the receiving thread of an instance remembers between its turns.

use std::time::{Duration, Instant};

use kmon_qemu::Process;

use crate::allowance::Allowance;

/// A heartbeat that stands still for longer makes an instance stalled; a busy
/// machine may leave a healthy one without a processor for over a second.
const STALE: Duration = Duration::from_secs(3);

/// How an instance was when it was looked at last.
pub(super) struct Watch {
    beat: u32,
    /// Since when it is so.
    pub(super) since: Instant,
    /// Guestd has greeted, and was not lost since.
    greeted: bool,
    /// The heartbeat when guestd was lost.
    beat_at_loss: Option<u32>,
    /// Guestd's process, where it can be found.
    pub(super) guestd: Option<Process>,
    /// How often it was looked for.
    searches: u32,
    /// The backlog when the front end was last seen to move, and when.
    pub(super) backlog: Option<(u64, Instant)>,
    pub(super) goodbye: bool,
    pub(super) shells: ShellEnds,
    /// How often KMON says something of it, whatever the instance tells.
    pub(super) notices: Allowance,
}

impl Watch {
    const SEARCHES: u32 = 5;

    /// Of an instance whose heartbeat is `beat` when KMON attaches.
    pub(super) fn new(beat: u32) -> Self {
        Self {
            beat,
            since: Instant::now(),
            greeted: false,
            beat_at_loss: None,
            guestd: None,
            searches: 0,
            backlog: None,
            goodbye: false,
            shells: ShellEnds::default(),
            notices: Allowance::default(),
        }
    }

    /// Notes the heartbeat.
    pub(super) fn see(&mut self, beat: u32) {
        if beat != self.beat {
            self.beat = beat;
            self.since = Instant::now();
        }
    }

    /// Whether the instance is there and answers.
    pub(super) fn is_there(&self) -> bool {
        self.greeted && !self.is_stale()
    }

    /// Whether the heartbeat stands still.
    fn is_stale(&self) -> bool {
        self.since.elapsed() > STALE
    }

    /// Whether it does so although there was one.
    pub(super) fn has_stalled(&self) -> bool {
        self.is_stale() && self.beat != 0
    }

    /// The instance goes on after a standstill; whether guestd is there.
    pub(super) fn wake(&mut self) -> bool {
        self.since = Instant::now();
        self.greeted
    }

    /// Guestd has greeted: that is as good as a heartbeat.
    pub(super) fn greet(&mut self) {
        self.greeted = true;
        self.beat_at_loss = None;
        self.since = Instant::now();
        self.goodbye = false;
        self.searches = 0;
    }

    /// Whether guestd's process is to be looked for: a few times, since it may
    /// be none that can be found.
    pub(super) fn misses_guestd(&mut self) -> bool {
        let misses = self.greeted && self.guestd.is_none() && self.searches < Self::SEARCHES;
        self.searches += u32::from(misses);
        misses
    }

    /// The guestd that there was is gone.
    pub(super) fn lose_guestd(&mut self) {
        self.greeted = false;
        self.beat_at_loss = None;
        self.guestd = None;
    }

    /// The same by what the backend says, which may be old news: `beat` is the heartbeat now.
    pub(super) fn presume_lost(&mut self, beat: u32) {
        self.lose_guestd();
        self.beat_at_loss = Some(beat);
    }

    /// Returns whether guestd runs although it was presumed lost: its heartbeat has moved since.
    pub(super) fn runs_after_all(&self) -> bool {
        self.beat_at_loss.is_some_and(|beat| beat != self.beat)
    }

    /// Whether guestd's process is known to be gone.
    pub(super) fn guestd_is_gone(&self) -> bool {
        self.guestd.as_ref().is_some_and(Process::has_ended)
    }
}

/// How the console's shells ended: one that always ends at once is no shell.
#[derive(Default)]
pub(super) struct ShellEnds {
    in_a_row: u32,
    last: Option<Instant>,
    told: bool,
}

impl ShellEnds {
    /// Short lives in a row that are no accident.
    const TOO_MANY: u32 = 3;
    /// A life this short, with the daemon's pause before the next, is one.
    const SHORT: Duration = Duration::from_secs(3);

    /// A shell has ended; true the first time there were too many short lives.
    pub(super) fn note(&mut self) -> bool {
        let short = self.last.is_none_or(|last| last.elapsed() < Self::SHORT);
        self.in_a_row = if short { self.in_a_row + 1 } else { 1 };
        self.last = Some(Instant::now());
        self.in_a_row >= Self::TOO_MANY && !std::mem::replace(&mut self.told, true)
    }
}
