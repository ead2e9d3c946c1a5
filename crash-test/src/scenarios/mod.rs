//! The scenarios, one object each.

mod alias;
mod attach;
mod locks;
mod record;
mod registry;
mod ring;
mod snapshot;

use fastrand::Rng;
use shmem_core::Life;
use shmem_core::crash;
use shmem_core::ring::Unread;
use shmem_registry::Geometry;

use super::deaths::Deaths;
use super::scenario::{Outcome, Scenario};
use super::stage::{PARTITIONS, Stage};
use attach::AttachScenario;
use locks::{BarrierScenario, Exclusion, RwLockScenario, SemaphoreScenario};
use registry::RegistryScenario;
use ring::RingScenario;
use snapshot::SnapshotScenario;

/// A registry for one object and the partitions of a scenario.
const SMALL: Geometry = Geometry {
    segments: 2,
    partitions: PARTITIONS,
    block: 128,
};

static RESULTS: RingScenario = RingScenario {
    name: "ring-results",
    about: "a ring that keeps what is unread; either end dies, or both",
    unread: Unread::Keep,
};

static COMMANDS: RingScenario = RingScenario {
    name: "ring-commands",
    about: "a ring that discards what was pushed for an earlier life; either end dies, or both",
    unread: Unread::Discard,
};

/// All scenarios, in the order in which they run.
pub(super) fn all() -> Vec<&'static dyn Scenario> {
    vec![
        &RESULTS,
        &COMMANDS,
        &SnapshotScenario,
        &RegistryScenario,
        &AttachScenario,
        &Exclusion::Mutex,
        &Exclusion::Bakery,
        &RwLockScenario,
        &SemaphoreScenario,
        &BarrierScenario,
    ]
}

/// The life that dies while a starting state is prepared.
const DYING: Life = Life::first(7);

/// Lets that life join, and die at one of its stores from there on.
fn die<'m>(
    scenario: &dyn Scenario,
    stage: &Stage<'m>,
    deaths: &Deaths<'m>,
    role: usize,
    op: usize,
    at: u64,
) -> Outcome {
    stage.killed().add(1);
    let mut found = Ok(());
    crash::run(Some(at), || {
        let work = || {
            let mut actor = scenario.join(stage, role, DYING, deaths.share())?;
            actor.act(op, &mut Rng::with_seed(5))
        };
        found = work().map(drop);
    });
    deaths.bury(DYING);
    found
}
