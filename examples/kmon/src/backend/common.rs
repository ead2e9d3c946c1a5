//! The interface of all backends.

use std::sync::Arc;
use std::time::Duration;

use kmon_protocol::link::Waiting;
use kmon_qemu::Process;
use shmem_core::Mapping;

use super::record::BackendRecord;
use crate::embedded;

/// Receives each message that a backend prints, one line at a time.
pub(crate) type MessageSink = Box<dyn FnMut(String) + Send>;

/// The condition of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Alive,
    /// It is paused, on request.
    Paused,
    /// Its kernel has panicked.
    Panicked,
    Ended(End),
}

/// How a backend ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// It ended without a failure.
    pub(crate) is_clean: bool,
    pub(crate) how: String,
}

/// What announces that a backend is about to end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EndSignals {
    /// Guestd has sent its last message (`Goodbye`).
    pub(crate) goodbye: bool,
    /// The operator has requested that the instance ends.
    pub(crate) asked: bool,
}

/// What an instance consists of: processes, a machine, or memory that another system uses.
pub(crate) trait Backend: Send + Sync {
    /// Returns its condition. `signals` is what announced an end so far.
    fn condition(&self, signals: EndSignals) -> Condition;

    /// Kills it. Does nothing if it has ended.
    fn kill(&self);

    /// Returns its process on this machine, if it is one process.
    fn pid(&self) -> Option<i32>;

    /// Returns the time since it started.
    fn age(&self) -> Duration;

    /// Returns the process of its guestd, whose number inside the instance is `inside`, if it can
    /// be found.
    fn guestd(&self, inside: u32) -> Option<Process> {
        let _ = inside;
        None
    }

    /// Returns true if it ends when guestd ends.
    fn ends_with_guestd(&self) -> bool {
        false
    }

    /// Notes that guestd has greeted.
    fn note_greeting(&self) {}

    /// Does periodic work. Returns a message for the operator, if there is one.
    fn maintain(&self) -> Option<String> {
        None
    }

    /// Returns true if it has rebooted since the last call.
    fn has_rebooted(&self) -> bool {
        false
    }

    /// Presses its power button. Returns false if it has none.
    fn power_down(&self) -> anyhow::Result<bool> {
        Ok(false)
    }

    /// Pauses it.
    fn pause(&self) -> anyhow::Result<()>;

    /// Continues it.
    fn resume(&self) -> anyhow::Result<()>;
}

/// A backend that was just made. The processes of an embedded instance wait for the call to
/// start.
pub(crate) enum Spawned {
    Waiting(embedded::Spawned),
    Started(Arc<dyn Backend>, BackendRecord),
}

impl Spawned {
    /// Returns the record by which the next KMON finds it.
    pub(crate) fn record(&self) -> BackendRecord {
        match self {
            Self::Waiting(spawned) => BackendRecord::Process(spawned.record()),
            Self::Started(_, record) => record.clone(),
        }
    }
}

/// A backend that an earlier KMON left.
pub(crate) struct Found {
    pub(crate) backend: Arc<dyn Backend>,
    /// The memory of its region.
    pub(crate) memory: Mapping,
    pub(crate) waiting: Waiting,
}
