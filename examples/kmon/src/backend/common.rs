//! What all kinds of body have in common.

use std::sync::Arc;
use std::time::Duration;

use kmon_protocol::link::Waiting;
use kmon_qemu::Process;
use shmem_core::Mapping;

use super::kept::BackendRecord;
use crate::embedded;

/// Gets each line that a body itself has to say.
pub(crate) type Say = Box<dyn FnMut(String) + Send>;

/// How a body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Lives,
    /// It stands still, because somebody asked for that.
    Paused,
    /// Its kernel has given up.
    Panicked,
    Ended(End),
}

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Nothing went wrong.
    pub(crate) in_order: bool,
    pub(crate) how: String,
}

/// What was said before an end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastWords {
    /// Guestd took its leave.
    pub(crate) goodbye: bool,
    /// The operator asked for the end.
    pub(crate) asked: bool,
}

/// What an instance consists of.
pub(crate) trait Backend: Send + Sync {
    /// How it is now, after what was said last.
    fn condition(&self, said: LastWords) -> Condition;

    /// Ends it as it cannot refuse; one that has ended is ended already.
    fn kill(&self);

    /// Its process on this machine, if it is one.
    fn pid(&self) -> Option<i32>;

    /// How long it has been there.
    fn age(&self) -> Duration;

    /// The process of its guestd, which is number `inside` there, where that can be found.
    fn guestd(&self, inside: u32) -> Option<Process> {
        let _ = inside;
        None
    }

    /// Whether it is over when guestd is.
    fn ends_with_guestd(&self) -> bool {
        false
    }

    /// Guestd has greeted.
    fn greeted(&self) {}

    /// What has to be done now and then; what is to be said of it.
    fn tend(&self) -> Option<String> {
        None
    }

    /// Whether it has booted anew since the last call.
    fn has_booted_anew(&self) -> bool {
        false
    }

    /// Presses the button that asks its system to end; false: it has none.
    fn power_down(&self) -> anyhow::Result<bool> {
        Ok(false)
    }

    /// Lets it stand still.
    fn pause(&self) -> anyhow::Result<()>;

    /// Lets it go on.
    fn resume(&self) -> anyhow::Result<()>;
}

/// A body that was just made. One of processes waits for the word to begin.
pub(crate) enum Spawned {
    Waits(embedded::Spawned),
    Begun(Arc<dyn Backend>, BackendRecord),
}

impl Spawned {
    /// By what the next KMON finds it again.
    pub(crate) fn kept(&self) -> BackendRecord {
        match self {
            Self::Waits(newborn) => BackendRecord::Process(newborn.kept()),
            Self::Begun(_, kept) => kept.clone(),
        }
    }
}

/// A body that an earlier KMON left.
pub(crate) struct Found {
    pub(crate) body: Arc<dyn Backend>,
    /// That of its region.
    pub(crate) memory: Mapping,
    pub(crate) waiting: Waiting,
}
