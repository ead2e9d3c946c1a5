//! What commands work on.

use crate::interrupt::Interrupt;
use crate::monitor::Monitor;

/// What commands work on.
pub(crate) struct Session {
    pub(crate) monitor: Monitor,
    pub(crate) interrupt: Interrupt,
    pub(super) escape: u8,
}

impl Session {
    pub(crate) fn new(monitor: Monitor, interrupt: Interrupt, escape: u8) -> Self {
        Self {
            monitor,
            interrupt,
            escape,
        }
    }
}
