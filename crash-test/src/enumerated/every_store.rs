//! All cases of a scenario, each with its fault at every store.
//!
//! A victim dies at each store of each operation, from several starting states. Then a
//! successor recovers and dies at each of its own stores, and a third actor recovers.
//! In a run of stalls the victim is stopped before each store instead, and goes on.

use std::panic::{self, AssertUnwindSafe};

use shmem_core::crash::Ended;
use shmem_core::mem::{Heap, Window};

use super::case::Case;
use super::trial::Ends;
use super::{death, stall};
use crate::fault::{Fault, FaultKind};
use crate::harness::Harness;
use crate::report::Found;
use crate::scenario::Scenario;
use crate::verdict::Violation;

/// The enumeration of one scenario ends after this many violations.
const ENOUGH: usize = 50;

/// Tries all cases.
pub(crate) fn run(harness: &Harness<'_>, scenario: &'static Scenario, kind: FaultKind) {
    let found = || harness.tally.counts().violations.len();
    let before = found();
    let shapes = match kind {
        FaultKind::Death => scenario.shapes,
        FaultKind::Stall => scenario.stall_shapes(),
    };
    for &shape in shapes {
        let heap = Heap::new((scenario.layout)(shape).len());
        for case in Case::all(scenario, kind, shape) {
            if (harness.stop)() || found() - before >= ENOUGH {
                return;
            }
            harness.watchdog.doing(|| case.describe(None, None));
            try_every_store(harness, heap.window(), case);
        }
    }
}

/// Tries the fault at each store of the victim; if it dies, also at each of its
/// successor.
fn try_every_store(harness: &Harness<'_>, memory: Window<'_>, case: Case) {
    let attempt = |first, second| attempt(harness, memory, case, first, second);
    for first in 0.. {
        let Some(ends) = attempt(Some(first), None) else {
            return;
        };
        if ends.victim != Ended::Died {
            return;
        }
        let Ended::Finished { stores } = ends.successor else {
            continue;
        };
        if (0..stores).any(|second| attempt(Some(first), Some(second)).is_none()) {
            return;
        }
    }
}

/// Runs and counts one trial. Returns `None` if it found a violation.
fn attempt(
    harness: &Harness<'_>,
    memory: Window<'_>,
    case: Case,
    first: Option<u64>,
    second: Option<u64>,
) -> Option<Ends> {
    harness.watchdog.alive();
    let tally = harness.tally;
    let trial = || match (case.fault, first) {
        (Fault::Stall(state), Some(at)) => stall::attempt(memory, case, state, at, tally),
        _ => death::attempt(memory, case, first, second),
    };
    let outcome = panic::catch_unwind(AssertUnwindSafe(trial)).unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str);
        let text = text.or(cause.downcast_ref::<&str>().copied());
        Err(Violation::new(format!("panicked: {}", text.unwrap_or("?"))))
    });
    tally.counts().enumerated += u64::from(first.is_some());
    let found = |violation| {
        tally.violation(Found {
            scenario: case.scenario.name,
            seed: None,
            point: case.describe(first, second),
            violation,
        });
    };
    outcome.map_err(found).ok()
}
