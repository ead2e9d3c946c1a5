//! Scenarios in which something is wrong on purpose, each of which must be noticed: or a run
//! without violations would mean nothing.

mod channels;
mod objects;
mod rings;

use crate::scenario::Scenario;

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> + Clone {
    objects::ALL.iter().chain(&channels::ALL).copied()
}
