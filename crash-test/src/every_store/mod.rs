//! A fault at every store, on the heap stand-in.
//!
//! A victim dies at each store of each operation, from several starting states.
//! Then another life recovers; and that one dies at each of its own stores in
//! turn, and a third one recovers. In the end the object must work, and agree
//! with its account.
//!
//! Or it is stopped before each store, and taken for silent or for gone; the others do
//! what they may; and it goes on.

mod late;
mod trial;

use std::panic::{self, AssertUnwindSafe};

use shmem_core::Life;
use shmem_core::crash::Ended;
use shmem_core::mem::{Heap, Window};
use shmem_sync::PartitionState;

use super::deaths::Deaths;
use super::report::{Found, Tally};
use super::scenario::{Outcome, Scenario, Violation};
use super::stage::{self, Stage};
use super::watchdog::Watchdog;
use trial::Trial;

/// Violations of one scenario after which there is no need for more.
const ENOUGH: usize = 50;
/// What happens to a victim at a store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Die,
    /// It is stopped, is this to everybody else, and goes on.
    Stall(PartitionState),
}

pub(super) const DEATHS: &[Fault] = &[Fault::Die];
pub(super) const STALLS: &[Fault] = &[
    Fault::Stall(PartitionState::Silent),
    Fault::Stall(PartitionState::Gone),
];

/// What a life does until it dies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Join,
    Act(usize),
    Leave,
}

/// Who dies where, and who comes then.
#[derive(Clone, Copy)]
struct Case {
    fault: Fault,
    shape: u32,
    start: u32,
    /// The victim's role.
    role: usize,
    /// What it does behind what it must do before.
    deed: Deed,
    /// The role of the one that recovers.
    heir: usize,
    /// Whether whoever recovers is a later life of the same partition.
    same: bool,
}

impl Case {
    /// The life that comes after the victim's.
    fn heir_of(self, victim: Life) -> Life {
        match self.same {
            true => next(victim),
            false => Life::first(2),
        }
    }
}

/// A case, its two deaths, and how many stores there were.
#[derive(Clone, Copy)]
struct Deadlines {
    first: Option<u64>,
    second: Option<u64>,
}

/// How the victim and its heir ended. One that was stopped before a store has died,
/// as far as the enumeration goes.
struct Ends {
    victim: Ended,
    heir: Ended,
}

pub(super) struct EveryStore<'a> {
    pub(super) faults: &'static [Fault],
    pub(super) scenario: &'static dyn Scenario,
    pub(super) tally: &'a Tally,
    pub(super) watchdog: &'a Watchdog,
    pub(super) stop: &'a dyn Fn() -> bool,
}

impl EveryStore<'_> {
    /// Tries all cases.
    pub(super) fn run(&self) {
        let found = || self.tally.counts().violations.len();
        let before = found();
        let shapes = match self.faults {
            DEATHS => self.scenario.shapes(),
            _ => self.scenario.stall_shapes(),
        };
        for &shape in shapes {
            let heap = Heap::new(stage::len(self.scenario, shape));
            for case in self.cases(shape) {
                if (self.stop)() || found() - before >= ENOUGH {
                    return;
                }
                self.watchdog.doing(|| self.describe(case));
                self.every_moment(heap.window(), case);
            }
        }
    }

    fn cases(&self, shape: u32) -> Vec<Case> {
        let mut cases = Vec::new();
        let roles = self.scenario.roles();
        for start in 0..self.scenario.starts(shape) {
            for (role, victim) in roles.iter().enumerate() {
                let acts = (0..victim.ops.len()).map(Deed::Act);
                let deeds: Vec<_> = [Deed::Join, Deed::Leave].into_iter().chain(acts).collect();
                for heir in 0..roles.len() {
                    let all = self.faults.iter().flat_map(|&fault| {
                        let deeds = deeds.iter().enumerate();
                        deeds.map(move |(at, &deed)| (fault, at, deed))
                    });
                    cases.extend(all.map(|(fault, at, deed)| Case {
                        fault,
                        shape,
                        start,
                        role,
                        deed,
                        heir,
                        same: role == heir
                            && fault != Fault::Stall(PartitionState::Silent)
                            && (start as usize + at).is_multiple_of(2),
                    }));
                }
            }
        }
        cases
    }

    /// The victim at each of its stores; if it dies, its heir each time at each of its own.
    fn every_moment(&self, memory: Window<'_>, case: Case) {
        // Its joining is a case of its own.
        let joining = Case {
            fault: Fault::Die,
            deed: Deed::Join,
            ..case
        };
        let from = match case.deed {
            Deed::Join => 0,
            _ => match self.attempt(memory, joining, None, None) {
                Some(Ends {
                    victim: Ended::Alive { stores },
                    ..
                }) => stores,
                _ => return,
            },
        };
        for first in from.. {
            let Some(ends) = self.attempt(memory, case, Some(first), None) else {
                return;
            };
            if ends.victim != Ended::Died {
                return;
            }
            let Ended::Alive { stores } = ends.heir else {
                continue;
            };
            for second in 0..stores {
                if self
                    .attempt(memory, case, Some(first), Some(second))
                    .is_none()
                {
                    return;
                }
            }
        }
    }

    /// One trial, counted; nothing if a violation was found.
    fn attempt(
        &self,
        memory: Window<'_>,
        case: Case,
        first: Option<u64>,
        second: Option<u64>,
    ) -> Option<Ends> {
        self.watchdog.alive();
        let deadlines = Deadlines { first, second };
        let trial = || match (case.fault, first) {
            (Fault::Stall(state), Some(at)) => self.stall(memory, case, state, at),
            _ => self.trial(memory, case, deadlines),
        };
        let outcome = panic::catch_unwind(AssertUnwindSafe(trial)).unwrap_or_else(|cause| {
            let text = cause.downcast_ref::<String>().map(String::as_str);
            let text = text.or(cause.downcast_ref::<&str>().copied());
            Err(Violation::new(format!("panicked: {}", text.unwrap_or("?"))))
        });
        self.tally.counts().enumerated += u64::from(first.is_some());
        match outcome {
            Ok(ends) => Some(ends),
            Err(violation) => {
                let mut point = self.describe(case);
                if let Some(first) = first {
                    point += &format!(", at store {first}");
                }
                if let Some(second) = second {
                    point += &format!("; then its heir, at store {second}");
                }
                self.tally.violation(Found {
                    scenario: self.scenario.name(),
                    seed: None,
                    point,
                    violation,
                });
                None
            }
        }
    }

    /// A fresh stage in the case's starting state.
    fn begin<'m>(&self, memory: Window<'m>, case: Case) -> Outcome<Trial<'m>> {
        let stage = Stage::format(memory, self.scenario, case.shape)?;
        let trial = Trial {
            scenario: self.scenario,
            stage,
            deaths: Deaths::listed(),
        };
        self.scenario.found(&stage)?;
        self.scenario.prepare(&stage, case.start, &trial.deaths)?;
        Ok(trial)
    }

    fn trial<'m>(&self, memory: Window<'m>, case: Case, at: Deadlines) -> Outcome<Ends> {
        let trial = self.begin(memory, case)?;
        let stage = trial.stage;
        let mut actors = trial.witnesses(case)?;
        if at.first.is_some() {
            stage.killed().add(1);
        }
        // Its first life was there before.
        let victim = next(Life::first(1));
        let seed = u64::from(case.start);
        let (victim_end, _) = trial.play(case.role, victim, &[case.deed], seed, at.first)?;
        trial.deaths.bury(victim);
        if stage.held().get() != 0 {
            self.scenario.let_go(&stage)?;
            stage.held().set(0);
        }
        trial.go_on(&mut actors, case)?;
        let heir = case.heir_of(victim);
        let recovery = self.scenario.recovery(case.heir);
        let deeds: Vec<_> = match at.first {
            Some(_) => recovery.into_iter().map(Deed::Act).collect(),
            None => Vec::new(),
        };
        let (heir_end, recovered) = trial.play(case.heir, heir, &deeds, seed + 1, at.second)?;
        if heir_end == Ended::Died {
            trial.deaths.bury(heir);
        } else {
            actors[case.heir] = recovered;
        }
        trial.settle(actors, case, heir)?;
        Ok(Ends {
            victim: victim_end,
            heir: heir_end,
        })
    }

    fn describe(&self, case: Case) -> String {
        let role = &self.scenario.roles()[case.role];
        let doing = match case.deed {
            Deed::Join => "join",
            Deed::Act(op) => role.ops[op],
            Deed::Leave => "leave",
        };
        let fault = match case.fault {
            Fault::Die => "dies",
            Fault::Stall(PartitionState::Gone) => "is stopped, taken for gone,",
            Fault::Stall(_) => "is stopped, silent,",
        };
        let heir = match (case.same, self.scenario.roles()[case.heir].name) {
            (true, name) => format!("{name}, its next life"),
            (false, name) => name.to_owned(),
        };
        format!(
            "size {}, start {}: {} {fault} in `{doing}`, heir is {heir}",
            case.shape, case.start, role.name
        )
    }
}

/// The next life of a partition.
fn next(life: Life) -> Life {
    Life::after(life.partition(), life.incarnation()).unwrap_or(life)
}
