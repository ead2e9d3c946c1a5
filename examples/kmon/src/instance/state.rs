//! The states of an instance.
//!
//! ```text
//! starting -> running <-> silent         (heartbeat)
//! running, silent <-> restarting         (guestd is gone; another one starts)
//! any of these <-> paused                (its machine is paused)
//! any of these -> panicked               (its kernel has panicked)
//! any of these -> dead | corrupt         (its backend ended; the region is broken)
//! any of these -> halted                 (the operator ended it, or it ended by itself)
//! panicked | dead | corrupt | halted -> starting    (kmload, kmreset)
//! ```

use std::fmt;
use std::time::Instant;

/// The state of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Guestd has not attached to the region yet, or has not greeted this KMON.
    Starting,
    Running,
    /// Guestd is gone since this time; it is being started again.
    Restarting(Instant),
    /// The process exists, but its heartbeat has not moved since this time.
    Silent(Instant),
    /// Its machine is paused, on request.
    Paused,
    /// Its kernel has panicked; its machine has stopped.
    Panicked,
    /// The process is gone. The text says how it ended.
    Dead(String),
    /// It ended without a failure, or the operator ended it.
    Halted,
    /// The instance has damaged its region. The text says what was found.
    Corrupt(String),
}

impl State {
    /// Returns why its region is corrupt, if it is.
    pub(crate) fn broken(&self) -> Option<&str> {
        match self {
            Self::Corrupt(cause) => Some(cause),
            _ => None,
        }
    }

    /// Returns its name.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Restarting(_) => "restarting",
            Self::Silent(_) => "silent",
            Self::Paused => "paused",
            Self::Panicked => "panicked",
            Self::Dead(_) => "dead",
            Self::Halted => "halted",
            Self::Corrupt(_) => "corrupt",
        }
    }

    /// Returns details, if there are any.
    pub(crate) fn detail(&self) -> Option<String> {
        match self {
            Self::Silent(since) => {
                Some(format!("no heartbeat for {} s", since.elapsed().as_secs()))
            }
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

    /// Returns true if a process of the instance exists.
    pub(crate) fn is_alive(&self) -> bool {
        match self {
            Self::Starting
            | Self::Running
            | Self::Restarting(_)
            | Self::Silent(_)
            | Self::Paused
            | Self::Panicked => true,
            Self::Dead(_) | Self::Halted | Self::Corrupt(_) => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.detail()) {
            (_, Some(detail)) => write!(f, "{}: {detail}", self.word()),
            (_, None) => f.write_str(self.word()),
        }
    }
}
