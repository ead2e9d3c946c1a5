//! How an instance is.
//!
//! ```text
//! starting -> running <-> stalled        (heartbeat)
//! any of these -> dead | corrupt         (the process ended; the region is broken)
//! any of these -> halted                 (the operator asked)
//! dead | corrupt | halted -> starting    (kmload, kmreset)
//! ```

use std::fmt;
use std::time::Instant;

/// One state of the table above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The daemon has not attached to the region yet.
    Starting,
    Running,
    /// The process lives, but its heartbeat stands still since then.
    Stalled(Instant),
    /// The process is gone; how.
    Dead(String),
    /// The operator ended it.
    Halted,
    /// What the instance wrote is no region any more; what was found.
    Corrupt(String),
}

impl State {
    /// The one word of it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stalled(_) => "stalled",
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
            Self::Starting | Self::Running | Self::Halted => None,
        }
    }

    /// Whether a process of the instance is there.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Stalled(_))
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
