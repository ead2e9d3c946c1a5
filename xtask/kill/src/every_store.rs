//! Death at every store, on the heap stand-in.
//!
//! A victim dies at each store of each operation, from several starting states.
//! Then another life recovers; and that one dies at each of its own stores in
//! turn, and a third one recovers. In the end the object must work, and agree
//! with its account.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

use fastrand::Rng;
use shmem_core::Life;
use shmem_core::crash::{self, Ended};
use shmem_core::mem::{Heap, Window};

use super::deaths::Deaths;
use super::report::{Found, Tally};
use super::scenario::{Actor, Outcome, Scenario, Step, Violation, ensure};
use super::stage::{self, PARTITIONS, Stage};
use super::watchdog::Watchdog;

/// Violations of one scenario after which there is no need for more.
const ENOUGH: usize = 50;
/// Rounds in which each operation must have been possible once.
const ROUNDS: usize = 50;

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

/// A case, its two deaths, and how many stores there were.
#[derive(Clone, Copy)]
struct Deadlines {
    first: Option<u64>,
    second: Option<u64>,
}

/// How the victim and its heir ended.
struct Ends {
    victim: Ended,
    heir: Ended,
}

pub(super) struct EveryStore<'a> {
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
        for &shape in self.scenario.shapes() {
            let heap = Heap::new(stage::len(self.scenario, shape));
            for case in self.cases(shape) {
                if (self.stop)() || found() - before >= ENOUGH {
                    return;
                }
                self.watchdog.doing(|| self.describe(case));
                self.every_death(heap.window(), case);
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
                    cases.extend(deeds.iter().enumerate().map(|(at, &deed)| Case {
                        shape,
                        start,
                        role,
                        deed,
                        heir,
                        same: role == heir && (start as usize + at).is_multiple_of(2),
                    }));
                }
            }
        }
        cases
    }

    /// The victim at each of its stores, and each time its heir at each of its own.
    fn every_death(&self, memory: Window<'_>, case: Case) {
        // Its joining is a case of its own.
        let joining = Case {
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
        let trial = || self.trial(memory, case, deadlines);
        let outcome = panic::catch_unwind(AssertUnwindSafe(trial)).unwrap_or_else(|cause| {
            let text = cause.downcast_ref::<String>().map(String::as_str);
            let text = text.or(cause.downcast_ref::<&str>().copied());
            Err(Violation(format!("panicked: {}", text.unwrap_or("?"))))
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

    fn trial<'m>(&self, memory: Window<'m>, case: Case, at: Deadlines) -> Outcome<Ends> {
        let stage = Stage::format(memory, self.scenario, case.shape)?;
        let trial = Trial {
            scenario: self.scenario,
            stage,
            deaths: Deaths::listed(),
        };
        self.scenario.found(&stage)?;
        self.scenario.prepare(&stage, case.start, &trial.deaths)?;
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
        let heir = match case.same {
            true => next(victim),
            false => Life::first(2),
        };
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
        let heir = match (case.same, self.scenario.roles()[case.heir].name) {
            (true, name) => format!("{name}, its next life"),
            (false, name) => name.to_owned(),
        };
        format!(
            "size {}, start {}: {} dies in `{doing}`, heir is {heir}",
            case.shape, case.start, role.name
        )
    }
}

/// The next life of a partition.
fn next(life: Life) -> Life {
    Life::after(life.partition(), life.incarnation()).unwrap_or(life)
}

/// One stage, while it is played on.
struct Trial<'m> {
    scenario: &'static dyn Scenario,
    stage: Stage<'m>,
    deaths: Deaths<'m>,
}

/// Who plays a role now, if anybody does.
type Part<'m> = Option<Box<dyn Actor + 'm>>;

impl<'m> Trial<'m> {
    /// Those that live through all of it: one in each role that neither victim nor
    /// heir plays.
    fn witnesses(&self, case: Case) -> Outcome<Vec<Part<'m>>> {
        let join = |role: usize| {
            if role == case.role || role == case.heir {
                return Ok(None);
            }
            let life = Life::first(PARTITIONS as u8 - role as u8);
            let joined = self
                .scenario
                .join(&self.stage, role, life, self.deaths.share());
            joined.map(Some)
        };
        (0..self.scenario.roles().len()).map(join).collect()
    }

    /// Lets the witnesses work before anybody recovers, in every other case.
    fn go_on(&self, actors: &mut [Part<'m>], case: Case) -> Outcome {
        if case.start & 2 == 0 {
            return Ok(());
        }
        let mut rng = Rng::with_seed(u64::from(case.start) + 3);
        for (role, actor) in actors.iter_mut().enumerate() {
            if let Some(actor) = actor {
                for op in 0..self.scenario.roles()[role].ops.len() {
                    actor.act(op, &mut rng)?;
                }
            }
        }
        Ok(())
    }

    /// Lets `life` join and do some deeds, until it dies or is done.
    fn play(
        &self,
        role: usize,
        life: Life,
        deeds: &[Deed],
        seed: u64,
        at: Option<u64>,
    ) -> Outcome<(Ended, Part<'m>)> {
        let found = Cell::new(Ok(()));
        let mut kept = None;
        let ended = crash::run(at, || {
            let work = || {
                let deaths = self.deaths.share();
                let mut actor = self.scenario.join(&self.stage, role, life, deaths)?;
                let mut rng = Rng::with_seed(seed);
                for deed in deeds {
                    match deed {
                        Deed::Join => {}
                        Deed::Act(op) => drop(actor.act(*op, &mut rng)?),
                        Deed::Leave => return Ok(None),
                    }
                }
                Ok(Some(actor))
            };
            match work() {
                Ok(actor) => kept = actor,
                Err(violation) => found.set(Err(violation)),
            }
        });
        found.into_inner()?;
        Ok((ended, kept))
    }

    /// Fills the roles that nobody has, lets all work, and looks at what is there.
    fn settle(&self, mut actors: Vec<Part<'m>>, case: Case, heir: Life) -> Outcome {
        let mut order: Vec<_> = (0..actors.len()).collect();
        if case.start % 2 == 1 {
            order.reverse();
        }
        for role in order {
            if actors[role].is_none() {
                let life = match case.same && role == case.heir {
                    true => next(heir),
                    false => Life::first(3 + role as u8),
                };
                let joined = self
                    .scenario
                    .join(&self.stage, role, life, self.deaths.share())?;
                actors[role] = Some(joined);
            }
        }
        let mut actors: Vec<_> = actors.into_iter().flatten().collect();
        self.work(&mut actors, case)?;
        let mut actors: Vec<_> = actors.iter_mut().map(|actor| &mut **actor).collect();
        self.scenario
            .audit(&self.stage, &self.deaths, &mut actors, true)
    }

    /// Every operation of every role must be possible.
    fn work(&self, actors: &mut [Box<dyn Actor + 'm>], case: Case) -> Outcome {
        let mut rng = Rng::with_seed(u64::from(case.start) + 2);
        let roles = self.scenario.roles();
        let mut turns: Vec<_> = roles
            .iter()
            .enumerate()
            .flat_map(|(role, part)| (0..part.ops.len()).map(move |op| (role, op)))
            .collect();
        let mut waiting = turns.clone();
        for _ in 0..ROUNDS {
            rng.shuffle(&mut turns);
            for &(role, op) in &turns {
                if actors[role].act(op, &mut rng)? == Step::Done {
                    waiting.retain(|&turn| turn != (role, op));
                }
            }
            if waiting.is_empty() {
                break;
            }
        }
        ensure(waiting.is_empty(), || {
            let names = waiting.iter().map(|&(role, op)| roles[role].ops[op]);
            format!(
                "not possible any more: {}",
                names.collect::<Vec<_>>().join(", ")
            )
        })
    }
}
