//! The objects to which every part of a run reports.

use crate::report::Tally;
use crate::watchdog::Watchdog;

#[derive(Clone, Copy)]
pub(crate) struct Harness<'a> {
    pub(crate) tally: &'a Tally,
    pub(crate) watchdog: &'a Watchdog,
    /// Returns true when the run must end.
    pub(crate) stop: &'a dyn Fn() -> bool,
}
