//! The state that commands use.

use crate::interrupt::Interrupt;
use crate::monitor::Monitor;

/// The state that commands use.
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
