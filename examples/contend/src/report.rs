//! The program's output, as text or JSON.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;
use shmem_core::Incarnation;

use crate::shown::Shown;

/// Prints each event in one line.
#[derive(Clone, Copy)]
pub(crate) struct Report {
    json: bool,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    Prepared {
        permits: u8,
    },
    Attached {
        partition: u8,
        incarnation: u32,
    },
    /// The result of a test of the memory.
    Tried {
        compare_and_swap: String,
        fences: String,
    },
    /// A partition that holds what this one needs is silent.
    Silent(Peer),
    /// A partition that held what this one needs is gone.
    Gone(Peer),
    /// The lock was acquired from a dead owner, and the counters repaired.
    Repaired,
    /// The lock is now held.
    Held,
    /// The other end of a ring has a new incarnation.
    Restarted,
    Done {
        rounds: u32,
        /// The number of unsuccessful checks.
        polls: u64,
        millis: u64,
    },
    /// The content of the region.
    Shown(Shown),
    Failed {
        error: String,
        status: u8,
    },
}

#[derive(Serialize)]
pub(crate) struct Peer {
    partition: u8,
    incarnation: u32,
    /// Time since the wait began.
    after_millis: u64,
}

impl Peer {
    pub(crate) fn new(incarnation: Incarnation, after_millis: u64) -> Self {
        Self {
            partition: incarnation.partition(),
            incarnation: incarnation.number(),
            after_millis,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            partition,
            incarnation,
            after_millis,
        } = self;
        write!(f, "{partition}.{incarnation} after {after_millis} ms")
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prepared { permits } => write!(f, "prepared, with {permits} permits"),
            Self::Attached {
                partition,
                incarnation,
            } => write!(f, "attached as {partition}.{incarnation}"),
            Self::Tried {
                compare_and_swap,
                fences,
            } => write!(f, "compare-and-swap: {compare_and_swap}; fences: {fences}"),
            Self::Silent(peer) => write!(f, "silent: {peer}"),
            Self::Gone(peer) => write!(f, "gone: {peer}"),
            Self::Repaired => f.write_str("the owner had died: repaired"),
            Self::Held => f.write_str("held"),
            Self::Restarted => f.write_str("the other end was restarted"),
            Self::Done {
                rounds,
                polls,
                millis,
            } => write!(
                f,
                "done: {rounds} in {millis} ms, {polls} unsuccessful checks"
            ),
            Self::Shown(shown) => shown.fmt(f),
            Self::Failed { error, .. } => f.write_str(error),
        }
    }
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints an event at once. Ignores a closed output: the locks are more important.
    pub(crate) fn say(self, event: &Event) {
        let line = match (self.json, serde_json::to_string(event)) {
            (true, Ok(line)) => line,
            _ => event.to_string(),
        };
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }

    pub(crate) fn failed(self, error: &str, status: u8) {
        let event = Event::Failed {
            error: error.to_owned(),
            status,
        };
        match self.json {
            true => self.say(&event),
            false => {
                let _ = writeln!(io::stderr(), "shmem-contend: {event}");
            }
        }
    }
}
