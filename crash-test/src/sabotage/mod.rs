//! Scenarios with a deliberate error, which a run must notice: otherwise a run without
//! violations would mean nothing.

mod channels;
mod objects;
mod rings;

use crate::scenario::Scenario;

/// Returns all of them.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> + Clone {
    objects::ALL.iter().chain(&channels::ALL).copied()
}
