//! The state of an instance's receiving thread between its steps.

use std::time::{Duration, Instant};

use kmon_qemu::Process;

use crate::allowance::Allowance;

/// An instance without a heartbeat for longer than this is silent. A busy machine may leave a
/// healthy instance without a processor for more than a second.
const SILENCE_LIMIT: Duration = Duration::from_secs(3);

/// The last observations of an instance.
pub(super) struct Watch {
    beat: u32,
    /// When the heartbeat last moved.
    pub(super) since: Instant,
    /// Guestd has greeted and is not gone since.
    greeted: bool,
    /// The heartbeat when guestd was presumed gone.
    beat_at_loss: Option<u32>,
    /// Guestd's process, where it can be found.
    pub(super) guestd: Option<Process>,
    /// How often it was searched for.
    searches: u32,
    /// The backlog at the front end's last progress, and the time of that.
    pub(super) backlog: Option<(u64, Instant)>,
    pub(super) goodbye: bool,
    pub(super) shells: ShellEnds,
    /// Limits KMON's notices about the instance, whatever the instance sends.
    pub(super) notices: Allowance,
}

impl Watch {
    const SEARCHES: u32 = 5;

    /// Watches an instance whose heartbeat is `beat` when KMON attaches.
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
    pub(super) fn note_heartbeat(&mut self, beat: u32) {
        if beat != self.beat {
            self.beat = beat;
            self.since = Instant::now();
        }
    }

    /// Returns true if guestd has greeted and its heartbeat moves.
    pub(super) fn is_running(&self) -> bool {
        self.greeted && !self.has_stopped()
    }

    /// Returns true if the heartbeat has stopped.
    fn has_stopped(&self) -> bool {
        self.since.elapsed() > SILENCE_LIMIT
    }

    /// Returns true if the heartbeat has stopped after it had begun.
    pub(super) fn is_silent(&self) -> bool {
        self.has_stopped() && self.beat != 0
    }

    /// Notes that the instance continues after a pause. Returns true if guestd has greeted.
    pub(super) fn wake(&mut self) -> bool {
        self.since = Instant::now();
        self.greeted
    }

    /// Notes that guestd has greeted, which counts as a heartbeat.
    pub(super) fn greet(&mut self) {
        self.greeted = true;
        self.beat_at_loss = None;
        self.since = Instant::now();
        self.goodbye = false;
        self.searches = 0;
    }

    /// Returns true if guestd's process should be searched for. This happens only a few times,
    /// because some processes cannot be found.
    pub(super) fn should_search_guestd(&mut self) -> bool {
        let is_due = self.greeted && self.guestd.is_none() && self.searches < Self::SEARCHES;
        self.searches += u32::from(is_due);
        is_due
    }

    /// Notes that guestd is gone.
    pub(super) fn lose_guestd(&mut self) {
        self.greeted = false;
        self.beat_at_loss = None;
        self.guestd = None;
    }

    /// Notes that guestd is gone according to the backend, which may refer to an earlier guestd.
    /// `beat` is the current heartbeat.
    pub(super) fn presume_lost(&mut self, beat: u32) {
        self.lose_guestd();
        self.beat_at_loss = Some(beat);
    }

    /// Returns true if guestd runs although it was presumed gone: its heartbeat has moved since.
    pub(super) fn runs_despite_loss(&self) -> bool {
        self.beat_at_loss.is_some_and(|beat| beat != self.beat)
    }

    /// Returns true if guestd's process has ended.
    pub(super) fn guestd_is_gone(&self) -> bool {
        self.guestd.as_ref().is_some_and(Process::has_ended)
    }
}

/// Detects a console's shell that always ends immediately.
#[derive(Default)]
pub(super) struct ShellEnds {
    in_a_row: u32,
    last: Option<Instant>,
    is_reported: bool,
}

impl ShellEnds {
    /// How many short-lived shells in a row are a problem.
    const TOO_MANY: u32 = 3;
    /// A shell is short-lived if the next one ends within this time, which includes guestd's pause.
    const SHORT: Duration = Duration::from_secs(3);

    /// Notes that a shell has ended. Returns true the first time that too many were short-lived.
    pub(super) fn note(&mut self) -> bool {
        let short = self.last.is_none_or(|last| last.elapsed() < Self::SHORT);
        self.in_a_row = if short { self.in_a_row + 1 } else { 1 };
        self.last = Some(Instant::now());
        self.in_a_row >= Self::TOO_MANY && !std::mem::replace(&mut self.is_reported, true)
    }
}
