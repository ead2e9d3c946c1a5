//! The reasons to stop early, with their exit statuses.

use std::fmt;

/// A reason that has an exit status of its own.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The memory is not suitable for the lock.
    Unfit(String),
    /// A deadline passed.
    TimedOut(String),
    /// Another has this party's place, or what this party held.
    Evicted(String),
    /// The counters are wrong.
    Wrong(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfit(why) => write!(f, "refused: {why}"),
            Self::TimedOut(what) => write!(f, "the deadline passed: {what}"),
            Self::Evicted(how) => write!(f, "evicted: {how}"),
            Self::Wrong(what) => write!(f, "the counters are wrong: {what}"),
        }
    }
}

impl std::error::Error for Stop {}

pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(Stop::Unfit(_)) => 3,
        Some(Stop::TimedOut(_)) => 4,
        Some(Stop::Evicted(_)) => 5,
        Some(Stop::Wrong(_)) => 6,
        None => 1,
    }
}
