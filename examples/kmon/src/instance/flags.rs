//! Requests of the front end to the threads of a run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::backend::Backend;

/// Requests of the front end to the threads of a run.
#[derive(Default)]
pub(crate) struct Flags {
    /// Kill the instance.
    pub(super) kill: AtomicBool,
    /// Leave it to the next KMON.
    pub(super) leave: AtomicBool,
    /// The operator has requested that the instance ends.
    pub(super) halting: AtomicBool,
    /// The backend that the threads have made or found; the front end may use it, too.
    pub(super) backend: OnceLock<Arc<dyn Backend>>,
}

impl Flags {
    pub(super) fn is_over(&self) -> bool {
        self.is_killed() || self.is_left()
    }

    pub(super) fn is_killed(&self) -> bool {
        self.kill.load(Ordering::Relaxed)
    }

    pub(super) fn is_left(&self) -> bool {
        self.leave.load(Ordering::Relaxed)
    }

    /// Returns true if the operator has requested the end.
    pub(super) fn is_end_requested(&self) -> bool {
        self.halting.load(Ordering::Relaxed)
    }
}
