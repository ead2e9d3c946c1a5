//! One trial: a scene in a case's starting state, and the actors that work there.

use fastrand::Rng;
use shmem_core::crash::Ended;
use shmem_core::mem::Window;

use super::case::{Case, victim};
use crate::actor::{Action, Actor};
use crate::incarnation::{Incarnation, next};
use crate::memory::{PARTITIONS, TestMemory};
use crate::observer::Observer;
use crate::party::Step;
use crate::scene::Scene;
use crate::verdict::{Outcome, ensure};

/// Rounds within which each operation must have been possible once.
pub(super) const ROUNDS: usize = 50;

/// Repetitions of the rehearsal: the first ones report restarts.
const REHEARSALS: usize = 3;

/// The actor in each role, if there is one.
pub(super) type Actors<'m> = Vec<Option<Actor<'m>>>;

/// How the victim and its successor ended. For the enumeration, a victim that was stopped
/// before a store counts as dead.
pub(super) struct Ends {
    pub(super) victim: Ended,
    pub(super) successor: Ended,
}

pub(super) struct Trial<'m> {
    pub(super) case: Case,
    pub(super) scene: Scene<'m>,
}

impl<'m> Trial<'m> {
    /// Fresh memory in the case's starting state.
    pub(super) fn begin(memory: Window<'m>, case: Case) -> Outcome<Self> {
        let scenario = case.scenario;
        let memory = TestMemory::format(memory, &(scenario.layout)(case.shape), case.shape)?;
        let scene = scenario.scene(memory, Observer::listed());
        (scenario.initialize)(&memory)?;
        (scenario.prepare)(&scene, case.start)?;
        Ok(Self { case, scene })
    }

    fn rng(&self, purpose: u64) -> Rng {
        Rng::with_seed(u64::from(self.case.start) + purpose)
    }

    /// Lets one witness join in each role that neither victim nor successor plays. Witnesses
    /// stay alive to the end.
    pub(super) fn witnesses(&self) -> Outcome<Actors<'m>> {
        let join = |role: usize| {
            if role == self.case.role || role == self.case.successor_role {
                return Ok(None);
            }
            let incarnation = Incarnation::first(PARTITIONS as u8 - role as u8);
            self.scene.join(role, incarnation).map(Some)
        };
        (0..self.scene.roles.len()).map(join).collect()
    }

    /// Lets the witnesses work before any recovery, in half of the starting states.
    pub(super) fn let_witnesses_work(&self, actors: &mut Actors<'m>) -> Outcome {
        if self.case.start & 2 == 0 {
            return Ok(());
        }
        let mut rng = self.rng(3);
        for actor in actors.iter_mut().flatten() {
            actor.perform_each(0..actor.role.ops.len(), &mut rng)?;
        }
        Ok(())
    }

    /// Lets the victim join and rehearse with the witnesses. Returns `None` if its action is to
    /// join.
    pub(super) fn join_victim(&self, actors: &mut Actors<'m>) -> Outcome<Option<Actor<'m>>> {
        let Case { role, action, .. } = self.case;
        if action == Action::Join {
            return Ok(None);
        }
        actors[role] = Some(self.scene.join(role, victim())?);
        self.rehearse(actors)?;
        Ok(actors[role].take())
    }

    /// Performs the rehearsal if each role has an actor; the starting state decides how far.
    fn rehearse(&self, actors: &mut Actors<'m>) -> Outcome {
        let steps = self.case.scenario.rehearsal;
        if actors.iter().any(Option::is_none) || steps.is_empty() {
            return Ok(());
        }
        let mut rng = self.rng(4);
        let count = REHEARSALS * steps.len() + self.case.start as usize % steps.len();
        for &(role, op) in steps.iter().cycle().take(count) {
            if let Some(actor) = &mut actors[role] {
                actor.perform(op, &mut rng)?;
            }
        }
        Ok(())
    }

    /// Lets the victim perform its action, until it dies before its store `at`.
    pub(super) fn play_victim(&self, actors: &mut Actors<'m>, at: Option<u64>) -> Outcome<Ended> {
        let Case {
            role,
            action,
            start,
            ..
        } = self.case;
        let joined = self.join_victim(actors)?;
        let scene = &self.scene;
        let played = scene.play(role, victim(), joined, &[action], start.into(), at);
        played.map(|(ended, _)| ended)
    }

    /// Lets the successor join, and recover if `recovers`, until it dies before its store `at`.
    /// Returns the successor if it is alive.
    pub(super) fn play_successor(
        &self,
        recovers: bool,
        at: Option<u64>,
    ) -> Outcome<(Ended, Option<Actor<'m>>)> {
        let role = self.case.successor_role;
        let recovery = self.scene.roles[role].recovery.iter();
        let actions: Vec<_> = match recovers {
            true => recovery.map(|&op| Action::Perform(op)).collect(),
            false => Vec::new(),
        };
        let seed = u64::from(self.case.start) + 1;
        let successor = self.case.successor();
        self.scene.play(role, successor, None, &actions, seed, at)
    }

    /// Fills the free roles, lets all actors work, and audits.
    pub(super) fn settle(&self, mut actors: Actors<'m>) -> Outcome {
        let mut order: Vec<_> = (0..actors.len()).collect();
        if self.case.start % 2 == 1 {
            order.reverse();
        }
        for role in order {
            if actors[role].is_none() {
                let incarnation = match self.case.is_restart && role == self.case.successor_role {
                    true => next(self.case.successor()),
                    false => Incarnation::first(3 + role as u8),
                };
                actors[role] = Some(self.scene.join(role, incarnation)?);
            }
        }
        self.work(&mut actors, ROUNDS)?;
        let mut actors: Vec<_> = actors.iter_mut().flatten().collect();
        (self.case.scenario.audit)(&self.scene, &mut actors, true)
    }

    /// Lets the present actors work for some rounds. In [`ROUNDS`] rounds every operation must be
    /// possible once.
    pub(super) fn work(&self, actors: &mut Actors<'m>, rounds: usize) -> Outcome {
        let mut rng = self.rng(2);
        let roles = self.scene.roles;
        let mut all_ops: Vec<_> = (0..roles.len())
            .flat_map(|role| (0..roles[role].ops.len()).map(move |op| (role, op)))
            .collect();
        let mut waiting = all_ops.clone();
        for _ in 0..rounds {
            rng.shuffle(&mut all_ops);
            for &(role, op) in &all_ops {
                let Some(actor) = &mut actors[role] else {
                    continue;
                };
                if actor.perform(op, &mut rng)? == Step::Done {
                    waiting.retain(|&waits| waits != (role, op));
                }
            }
            if waiting.is_empty() {
                break;
            }
        }
        ensure(waiting.is_empty() || rounds < ROUNDS, || {
            let names = waiting.iter().map(|&(role, op)| roles[role].ops[op]);
            let names: Vec<_> = names.collect();
            format!("not possible any more: {}", names.join(", "))
        })
    }
}
