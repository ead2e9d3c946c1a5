//! What the front end tells the threads of a run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::backend::Backend;

/// What the front end tells the threads of a run.
#[derive(Default)]
pub(crate) struct Flags {
    /// Kill the instance.
    pub(super) kill: AtomicBool,
    /// Let go of it.
    pub(super) leave: AtomicBool,
    /// The end of the backend is what the operator asked for.
    pub(super) halting: AtomicBool,
    /// What the threads have made or found; the front end may use it, too.
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

    /// Whether the operator has asked for the end.
    pub(super) fn is_asked(&self) -> bool {
        self.halting.load(Ordering::Relaxed)
    }
}
