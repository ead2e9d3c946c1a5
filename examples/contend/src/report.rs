//! What the program says, as text or JSON.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;
use shmem_core::Incarnation;

use crate::shown::Shown;

/// Says what happens, one line each.
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
    /// What works across the memory.
    Tried {
        compare_and_swap: String,
        fences: String,
    },
    /// It is in the way, and its heartbeat stands still.
    Silent(Who),
    /// It is in the way, and over for certain, or has left since.
    Gone(Who),
    /// The lock was taken from a dead owner, and the counters mended.
    Mended,
    /// The lock is held now.
    Held,
    /// A ring's other end is another incarnation.
    Restarted,
    Done {
        rounds: u32,
        /// How often it looked in vain for what it waited for.
        looks: u64,
        millis: u64,
    },
    /// What is in the region.
    Shown(Shown),
    Failed {
        error: String,
        status: u8,
    },
}

#[derive(Serialize)]
pub(crate) struct Who {
    partition: u8,
    incarnation: u32,
    /// For how long it has been waited for.
    after_millis: u64,
}

impl Who {
    pub(crate) fn new(incarnation: Incarnation, after_millis: u64) -> Self {
        Self {
            partition: incarnation.partition(),
            incarnation: incarnation.number(),
            after_millis,
        }
    }
}

impl fmt::Display for Who {
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
            Self::Silent(who) => write!(f, "silent: {who}"),
            Self::Gone(who) => write!(f, "gone: {who}"),
            Self::Mended => f.write_str("the owner had died: mended"),
            Self::Held => f.write_str("held"),
            Self::Restarted => f.write_str("the other end was restarted"),
            Self::Done {
                rounds,
                looks,
                millis,
            } => write!(f, "done: {rounds} in {millis} ms, waited for {looks} looks"),
            Self::Shown(shown) => shown.fmt(f),
            Self::Failed { error, .. } => f.write_str(error),
        }
    }
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Says it at once. An output that is closed stops nothing: the locks come first.
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
