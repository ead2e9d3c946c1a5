//! One trial: a stage and those that play on it.

use std::cell::Cell;

use fastrand::Rng;
use shmem_core::Life;
use shmem_core::crash::{self, Ended};

use super::{Case, Deed, next};
use crate::deaths::Deaths;
use crate::scenario::{Actor, Outcome, Scenario, Step, ensure};
use crate::stage::{PARTITIONS, Stage};

/// Rounds in which each operation must have been possible once.
pub(super) const ROUNDS: usize = 50;

/// One stage, while it is played on.
pub(super) struct Trial<'m> {
    pub(super) scenario: &'static dyn Scenario,
    pub(super) stage: Stage<'m>,
    pub(super) deaths: Deaths<'m>,
}

/// Who plays a role now, if anybody does.
pub(super) type Part<'m> = Option<Box<dyn Actor + 'm>>;

impl<'m> Trial<'m> {
    /// Those that live through all of it: one in each role that neither victim nor
    /// heir plays.
    pub(super) fn witnesses(&self, case: Case) -> Outcome<Vec<Part<'m>>> {
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
    pub(super) fn go_on(&self, actors: &mut [Part<'m>], case: Case) -> Outcome {
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
    pub(super) fn play(
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
    pub(super) fn settle(&self, mut actors: Vec<Part<'m>>, case: Case, heir: Life) -> Outcome {
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
        self.work(&mut actors, case, ROUNDS)?;
        let mut actors: Vec<_> = actors
            .iter_mut()
            .flatten()
            .map(|actor| &mut **actor)
            .collect();
        self.scenario
            .audit(&self.stage, &self.deaths, &mut actors, true)
    }

    /// Lets `actor` play some operations of a role, whatever comes of them.
    pub(super) fn act(actor: &mut Part<'m>, ops: &[usize], seed: u64) -> Outcome {
        let mut rng = Rng::with_seed(seed);
        let Some(actor) = actor else {
            return Ok(());
        };
        ops.iter()
            .try_for_each(|&op| actor.act(op, &mut rng).map(drop))
    }

    /// Lets all that there are work for some rounds; if there are [`ROUNDS`], every
    /// operation must be possible.
    pub(super) fn work(&self, actors: &mut [Part<'m>], case: Case, rounds: usize) -> Outcome {
        let mut rng = Rng::with_seed(u64::from(case.start) + 2);
        let roles = self.scenario.roles();
        let mut turns: Vec<_> = roles
            .iter()
            .enumerate()
            .flat_map(|(role, part)| (0..part.ops.len()).map(move |op| (role, op)))
            .collect();
        let mut waiting = turns.clone();
        for _ in 0..rounds {
            rng.shuffle(&mut turns);
            for &(role, op) in &turns {
                let Some(actor) = &mut actors[role] else {
                    continue;
                };
                if actor.act(op, &mut rng)? == Step::Done {
                    waiting.retain(|&turn| turn != (role, op));
                }
            }
            if waiting.is_empty() {
                break;
            }
        }
        ensure(waiting.is_empty() || rounds < ROUNDS, || {
            let names = waiting.iter().map(|&(role, op)| roles[role].ops[op]);
            format!(
                "not possible any more: {}",
                names.collect::<Vec<_>>().join(", ")
            )
        })
    }
}
