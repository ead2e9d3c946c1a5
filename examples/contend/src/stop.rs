//! Why the program stops early, and its exit status then.

use std::fmt;

/// What a script tells apart by the exit status.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The memory is not fit for the lock.
    Unfit(String),
    /// A deadline passed.
    Late(String),
    /// Another has this party's place, or what it held.
    Evicted(String),
    /// The counters are wrong.
    Wrong(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfit(why) => write!(f, "refused: {why}"),
            Self::Late(what) => write!(f, "the deadline passed: {what}"),
            Self::Evicted(how) => write!(f, "evicted: {how}"),
            Self::Wrong(what) => write!(f, "the counters are wrong: {what}"),
        }
    }
}

impl std::error::Error for Stop {}

pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(Stop::Unfit(_)) => 3,
        Some(Stop::Late(_)) => 4,
        Some(Stop::Evicted(_)) => 5,
        Some(Stop::Wrong(_)) => 6,
        None => 1,
    }
}
