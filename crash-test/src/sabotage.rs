//! What is wrong on purpose, each of which must be noticed: or a run without violations
//! would mean nothing.
//!
//! Each does one thing wrongly, and else is the scenario that it is made of.

use std::mem::offset_of;

use fastrand::Rng;
use shmem_core::Life;
use shmem_core::layout::RingControl;
use shmem_core::mem::Window;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_registry::layout::{PARTITIONS, PartitionSlot, Row};
use shmem_sync::layout::{
    BakeryControl, MutexControl, RwLockControl, SemaphoreControl, SemaphorePlace,
};

use super::deaths::Deaths;
use super::every_store::{DEATHS, EveryStore, STALLS};
use super::processes::{Liveness, Processes};
use super::report::Tally;
use super::scenario::{Actor, Cast, Layout, Outcome, Role, Scenario, Step};
use super::scenarios;
use super::stage::Stage;
use super::watchdog::Watchdog;

/// What is done wrongly.
enum Wrong {
    /// The object is spoilt whenever somebody joins after a death.
    Recovery(fn(&Stage<'_>)),
    /// Whoever is silent is taken for gone.
    Rash,
    /// One that comes late goes on when it is told that others have its part.
    Deaf,
    /// One that comes late stores into what it had, without a look at its claim.
    Blind,
}

/// A scenario in which something is wrong.
pub(super) struct Sabotage {
    name: &'static str,
    about: &'static str,
    /// The name of the scenario that it spoils.
    of: &'static str,
    wrong: Wrong,
}

static ALL: [Sabotage; 10] = [
    Sabotage {
        name: "forgetful-ring",
        about: "what a dead producer or consumer left unread is dropped",
        of: "ring-results",
        wrong: Wrong::Recovery(forget_unread),
    },
    Sabotage {
        name: "free-rows",
        about: "a dead owner's row is taken for free",
        of: "registry",
        wrong: Wrong::Recovery(free_rows),
    },
    Sabotage {
        name: "free-mutex",
        about: "a dead owner's mutex is taken for free",
        of: "mutex",
        wrong: Wrong::Recovery(|stage| clear(stage, offset_of!(MutexControl, owner))),
    },
    Sabotage {
        name: "free-bakery",
        about: "a dead owner of a bakery mutex is not noticed",
        of: "bakery",
        wrong: Wrong::Recovery(|stage| clear(stage, offset_of!(BakeryControl, holder))),
    },
    Sabotage {
        name: "free-rwlock",
        about: "a dead writer's lock is taken for free",
        of: "rwlock",
        wrong: Wrong::Recovery(|stage| clear(stage, offset_of!(RwLockControl, writer))),
    },
    Sabotage {
        name: "lost-permits",
        about: "a dead holder's permit is gone",
        of: "semaphore",
        wrong: Wrong::Recovery(lose_permits),
    },
    Sabotage {
        name: "rash-mutex",
        about: "a silent owner's mutex is taken from it",
        of: "mutex",
        wrong: Wrong::Rash,
    },
    Sabotage {
        name: "rash-ring",
        about: "a silent producer's or consumer's end is taken from it",
        of: "ring-results",
        wrong: Wrong::Rash,
    },
    Sabotage {
        name: "deaf-partition",
        about: "a late partition goes on when it is told that another has its place",
        of: "attach",
        wrong: Wrong::Deaf,
    },
    Sabotage {
        name: "blind-tenant",
        about: "a late partition stores into what is others' by then",
        of: "registry",
        wrong: Wrong::Blind,
    },
];

/// The scenarios in which something is wrong.
pub(super) fn all() -> impl Iterator<Item = &'static Sabotage> {
    ALL.iter()
}

/// A partition that does something wrongly when it is late.
struct Spoiler<'m> {
    actor: Box<dyn Actor + 'm>,
    sabotage: &'static Sabotage,
    stage: Stage<'m>,
    life: Life,
}

impl Actor for Spoiler<'_> {
    fn act(&mut self, op: usize, rng: &mut Rng) -> Outcome<Step> {
        let acted = self.actor.act(op, rng);
        if self.stage.late().get() != self.life.word() {
            return acted;
        }
        match (&self.sabotage.wrong, acted) {
            (Wrong::Deaf, Err(error)) if error.tells => Ok(Step::Done),
            (Wrong::Blind, acted) => {
                let inner = self.sabotage.inner();
                for window in inner.belongings(&self.stage, self.life)? {
                    window.zero(0, window.len());
                }
                acted
            }
            (_, acted) => acted,
        }
    }
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
    /// Whether it is wrong about parties that are stopped.
    fn is_of_stalls(&self) -> bool {
        !matches!(self.wrong, Wrong::Recovery(_))
    }

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

    fn stall_shapes(&self) -> &'static [u32] {
        self.inner().stall_shapes()
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
        if let (Wrong::Recovery(spoil), 1..) = (&self.wrong, stage.killed().get()) {
            spoil(stage);
        }
        let actor = self.inner().join(stage, role, life, deaths)?;
        let sabotage = ALL.iter().find(|sabotage| sabotage.name == self.name);
        Ok(match sabotage {
            Some(sabotage) => Box::new(Spoiler {
                actor,
                sabotage,
                stage: *stage,
                life,
            }),
            None => actor,
        })
    }

    fn claims(&self, role: usize, op: usize) -> bool {
        self.inner().claims(role, op)
    }

    fn before_return(&self, role: usize) -> Vec<usize> {
        self.inner().before_return(role)
    }

    fn belongings<'m>(&self, stage: &Stage<'m>, late: Life) -> Outcome<Vec<Window<'m>>> {
        self.inner().belongings(stage, late)
    }

    fn is_rash(&self) -> bool {
        matches!(self.wrong, Wrong::Rash)
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
pub(super) fn at_stores(scenario: &'static Sabotage, stop: &dyn Fn() -> bool) -> Noticed {
    let stall = scenario.is_of_stalls();
    let (tally, watchdog) = (Tally::new(None, stall), Watchdog::default());
    EveryStore {
        faults: if stall { STALLS } else { DEATHS },
        scenario,
        tally: &tally,
        watchdog: &watchdog,
        stop: &|| stop() || !tally.counts().violations.is_empty(),
    }
    .run();
    noticed(scenario, "at every store", &tally)
}

/// Kills or stops processes of a spoilt scenario until that is noticed; nothing where
/// processes have no part in what is wrong.
pub(super) fn in_processes(
    scenario: &'static Sabotage,
    watchdog: &Watchdog,
    seeds: &mut Rng,
    stop: &dyn Fn() -> bool,
) -> Option<Noticed> {
    if matches!(scenario.wrong, Wrong::Deaf | Wrong::Blind) {
        return None;
    }
    let stall = scenario.is_of_stalls();
    let tally = Tally::new(None, stall);
    Processes {
        scenario,
        liveness: Some(match scenario.is_rash() {
            true => Liveness::Heartbeat,
            false => Liveness::Pidfd,
        }),
        stall,
        tally: &tally,
        watchdog,
        stop: &|| stop() || !tally.counts().violations.is_empty(),
    }
    .run(400, seeds);
    Some(noticed(scenario, "in processes", &tally))
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
    fn whatever_is_wrong_is_noticed_at_some_store() {
        for scenario in all() {
            let noticed = at_stores(scenario, &|| false);
            assert!(noticed.what.is_some(), "{}", noticed.name);
        }
    }
}
