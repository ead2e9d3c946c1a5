//! Wrong recoveries, each of which must be noticed: or a run without violations
//! would mean nothing.
//!
//! Each spoils the object whenever somebody joins after a death, and else is the
//! scenario that it is made of.

use std::mem::offset_of;

use fastrand::Rng;
use shmem_core::Life;
use shmem_core::layout::RingControl;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_registry::layout::{PARTITIONS, PartitionSlot, Row};
use shmem_sync::layout::{
    BakeryControl, MutexControl, RwLockControl, SemaphoreControl, SemaphorePlace,
};

use super::deaths::Deaths;
use super::every_store::EveryStore;
use super::processes::{Liveness, Processes};
use super::report::Tally;
use super::scenario::{Actor, Cast, Layout, Outcome, Role, Scenario};
use super::scenarios;
use super::stage::Stage;
use super::watchdog::Watchdog;

/// A scenario with a wrong recovery.
pub(super) struct Sabotage {
    name: &'static str,
    about: &'static str,
    /// The name of the scenario that it spoils.
    of: &'static str,
    spoil: fn(&Stage<'_>),
}

static ALL: [Sabotage; 6] = [
    Sabotage {
        name: "forgetful-ring",
        about: "what a dead producer or consumer left unread is dropped",
        of: "ring-results",
        spoil: forget_unread,
    },
    Sabotage {
        name: "free-rows",
        about: "a dead owner's row is taken for free",
        of: "registry",
        spoil: free_rows,
    },
    Sabotage {
        name: "free-mutex",
        about: "a dead owner's mutex is taken for free",
        of: "mutex",
        spoil: |stage| clear(stage, offset_of!(MutexControl, owner)),
    },
    Sabotage {
        name: "free-bakery",
        about: "a dead owner of a bakery mutex is not noticed",
        of: "bakery",
        spoil: |stage| clear(stage, offset_of!(BakeryControl, holder)),
    },
    Sabotage {
        name: "free-rwlock",
        about: "a dead writer's lock is taken for free",
        of: "rwlock",
        spoil: |stage| clear(stage, offset_of!(RwLockControl, writer)),
    },
    Sabotage {
        name: "lost-permits",
        about: "a dead holder's permit is gone",
        of: "semaphore",
        spoil: lose_permits,
    },
];

/// The scenarios that are spoilt.
pub(super) fn all() -> impl Iterator<Item = &'static dyn Scenario> {
    ALL.iter().map(|sabotage| sabotage as &dyn Scenario)
}

/// Stores 0 in a word of the object.
fn clear(stage: &Stage<'_>, offset: usize) {
    stage.object.word(offset).store(0, Relaxed);
}

fn forget_unread(stage: &Stage<'_>) {
    let word = |offset| stage.object.word(offset);
    let head = word(offset_of!(RingControl, head)).load(Relaxed);
    word(offset_of!(RingControl, tail)).store(head, Relaxed);
    let control = size_of::<RingControl>();
    let capacity = stage.object.len() - control;
    clear(stage, control + head as usize % capacity);
}

fn free_rows(stage: &Stage<'_>) {
    let geometry = stage.registry.geometry();
    let index = PARTITIONS + geometry.partitions * size_of::<PartitionSlot>();
    let rows = index + geometry.segments * 2 * 4;
    for row in 0..geometry.segments {
        clear(
            stage,
            rows + row * size_of::<Row>() + offset_of!(Row, owner),
        );
    }
}

fn lose_permits(stage: &Stage<'_>) {
    let places = size_of::<SemaphoreControl>()..stage.object.len();
    let permits = places.step_by(size_of::<SemaphorePlace>());
    for offset in permits {
        let word = stage.object.word(offset);
        if Life::from_word(word.load(Relaxed)).is_some() {
            word.store(0, Relaxed);
        }
    }
}

impl Sabotage {
    fn inner(&self) -> &'static dyn Scenario {
        let all = scenarios::all();
        let inner = all.into_iter().find(|scenario| scenario.name() == self.of);
        inner.expect("a sabotage is of a scenario")
    }
}

impl Scenario for Sabotage {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn roles(&self) -> &'static [Role] {
        self.inner().roles()
    }

    fn casts(&self) -> &'static [Cast] {
        self.inner().casts()
    }

    fn shapes(&self) -> &'static [u32] {
        self.inner().shapes()
    }

    fn layout(&self, shape: u32) -> Layout {
        self.inner().layout(shape)
    }

    fn found(&self, stage: &Stage<'_>) -> Outcome {
        self.inner().found(stage)
    }

    fn starts(&self, shape: u32) -> u32 {
        self.inner().starts(shape)
    }

    fn prepare<'m>(&self, stage: &Stage<'m>, start: u32, deaths: &Deaths<'m>) -> Outcome {
        self.inner().prepare(stage, start, deaths)
    }

    fn let_go(&self, stage: &Stage<'_>) -> Outcome {
        self.inner().let_go(stage)
    }

    fn join<'m>(
        &self,
        stage: &Stage<'m>,
        role: usize,
        life: Life,
        deaths: Deaths<'m>,
    ) -> Outcome<Box<dyn Actor + 'm>> {
        if stage.killed().get() != 0 {
            (self.spoil)(stage);
        }
        self.inner().join(stage, role, life, deaths)
    }

    fn recovery(&self, role: usize) -> Vec<usize> {
        self.inner().recovery(role)
    }

    fn describe(&self, stage: &Stage<'_>) -> String {
        self.inner().describe(stage)
    }

    fn audits(&self) -> bool {
        self.inner().audits()
    }

    fn audit<'m>(
        &self,
        stage: &Stage<'m>,
        deaths: &Deaths<'m>,
        actors: &mut [&mut (dyn Actor + 'm)],
        end: bool,
    ) -> Outcome {
        self.inner().audit(stage, deaths, actors, end)
    }
}

/// What became of one sabotage in one of the two ways.
pub(super) struct Noticed {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) way: &'static str,
    /// The first violation, if there was one.
    pub(super) what: Option<String>,
}

/// Lets every store of a spoilt scenario be tried.
pub(super) fn at_stores(scenario: &'static dyn Scenario, stop: &dyn Fn() -> bool) -> Noticed {
    let (tally, watchdog) = (Tally::new(None), Watchdog::default());
    EveryStore {
        scenario,
        tally: &tally,
        watchdog: &watchdog,
        stop: &|| stop() || !tally.counts().violations.is_empty(),
    }
    .run();
    noticed(scenario, "at every store", &tally)
}

/// Kills processes of a spoilt scenario until that is noticed.
pub(super) fn in_processes(
    scenario: &'static dyn Scenario,
    watchdog: &Watchdog,
    seeds: &mut Rng,
    stop: &dyn Fn() -> bool,
) -> Noticed {
    let tally = Tally::new(None);
    Processes {
        scenario,
        liveness: Liveness::Pidfd,
        tally: &tally,
        watchdog,
        stop: &|| stop() || !tally.counts().violations.is_empty(),
    }
    .run(400, seeds);
    noticed(scenario, "in processes", &tally)
}

fn noticed(scenario: &'static dyn Scenario, way: &'static str, tally: &Tally) -> Noticed {
    let counts = tally.counts();
    let what = counts.violations.first();
    Noticed {
        name: scenario.name(),
        about: scenario.about(),
        way,
        what: what.map(|found| found.violation.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_recovery_is_noticed_at_some_store() {
        for scenario in all() {
            let noticed = at_stores(scenario, &|| false);
            assert!(noticed.what.is_some(), "{}", noticed.name);
        }
    }
}
