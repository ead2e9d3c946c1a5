//! What every part of a run reports to.

use crate::report::Tally;
use crate::watchdog::Watchdog;

#[derive(Clone, Copy)]
pub(crate) struct Harness<'a> {
    pub(crate) tally: &'a Tally,
    pub(crate) watchdog: &'a Watchdog,
    /// Whether the run is to end now.
    pub(crate) stop: &'a dyn Fn() -> bool,
}
