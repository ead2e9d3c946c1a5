//! How an instance is.
//!
//! ```text
//! starting -> running <-> stalled        (heartbeat)
//! running, stalled <-> restarting        (guestd is gone; there is another one)
//! any of these <-> paused                (its machine stands still)
//! any of these -> panicked               (its kernel gave up)
//! any of these -> dead | corrupt         (its backend ended; the region is broken)
//! any of these -> halted                 (the operator asked)
//! panicked | dead | corrupt | halted -> starting    (kmload, kmreset)
//! ```

use std::fmt;
use std::time::Instant;

/// One state of the table above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The daemon has not attached to the region yet, or not greeted this KMON.
    Starting,
    Running,
    /// The daemon was there and is gone, since then; it is being started again.
    Restarting(Instant),
    /// The process lives, but its heartbeat stands still since then.
    Stalled(Instant),
    /// Its machine stands still, because somebody asked for that.
    Paused,
    /// Its kernel gave up; its machine stands still.
    Panicked,
    /// The process is gone; how.
    Dead(String),
    /// The operator ended it.
    Halted,
    /// What the instance wrote is no region any more; what was found.
    Corrupt(String),
}

impl State {
    /// Why its region is broken, if it is.
    pub(crate) fn broken(&self) -> Option<&str> {
        match self {
            Self::Corrupt(cause) => Some(cause),
            _ => None,
        }
    }

    /// The one word of it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Restarting(_) => "restarting",
            Self::Stalled(_) => "stalled",
            Self::Paused => "paused",
            Self::Panicked => "panicked",
            Self::Dead(_) => "dead",
            Self::Halted => "halted",
            Self::Corrupt(_) => "corrupt",
        }
    }

    /// What is known beyond the word.
    pub(crate) fn detail(&self) -> Option<String> {
        match self {
            Self::Stalled(since) => Some(format!("stale {} s", since.elapsed().as_secs())),
            Self::Dead(how) => Some(how.clone()),
            Self::Corrupt(what) => Some(what.clone()),
            Self::Starting
            | Self::Running
            | Self::Restarting(_)
            | Self::Paused
            | Self::Panicked
            | Self::Halted => None,
        }
    }

    /// Whether a process of the instance is there.
    pub(crate) fn is_alive(&self) -> bool {
        match self {
            Self::Starting
            | Self::Running
            | Self::Restarting(_)
            | Self::Stalled(_)
            | Self::Paused
            | Self::Panicked => true,
            Self::Dead(_) | Self::Halted | Self::Corrupt(_) => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.detail()) {
            (Self::Stalled(_), Some(detail)) => f.write_str(&detail),
            (_, Some(detail)) => write!(f, "{}: {detail}", self.word()),
            (_, None) => f.write_str(self.word()),
        }
    }
}
