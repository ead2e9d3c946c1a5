//! The scene: the memory and the roles of one trial, in which actors join, work, and die or
//! stop at a store.

use std::cell::Cell;

use fastrand::Rng;
use shmem_core::crash::{self, Ended};
use shmem_sync::PartitionState;

use crate::actor::{Action, Actor, Role, Sabotage};
use crate::incarnation::Incarnation;
use crate::memory::TestMemory;
use crate::observer::Observer;
use crate::party::Seat;
use crate::verdict::Outcome;

/// The incarnation that dies while a starting state is prepared.
pub(crate) const DYING: Incarnation = Incarnation::first(7);

/// Where actors meet.
pub(crate) struct Scene<'m> {
    pub(crate) roles: &'static [Role],
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) memory: TestMemory<'m>,
    pub(crate) observer: Observer<'m>,
}

impl<'m> Scene<'m> {
    /// The same scene, for another thread.
    pub(crate) fn share(&self) -> Self {
        Self {
            observer: self.observer.share(),
            ..*self
        }
    }

    /// Lets `incarnation` play a role, after a dead one if there was one.
    pub(crate) fn join(&self, role: usize, incarnation: Incarnation) -> Outcome<Actor<'m>> {
        self.join_with(role, incarnation, self.observer.share())
    }

    /// The same with an observer of its own.
    pub(crate) fn join_with(
        &self,
        role: usize,
        incarnation: Incarnation,
        observer: Observer<'m>,
    ) -> Outcome<Actor<'m>> {
        let seat = Seat {
            memory: self.memory,
            role,
            incarnation,
            observer,
        };
        Actor::join(&self.roles[role], seat, self.sabotage)
    }

    /// Lets `incarnation` join, if it has not `joined`, and do some actions, until it dies
    /// before its store `at` or has done them. It is returned if it has not left.
    pub(crate) fn play(
        &self,
        role: usize,
        incarnation: Incarnation,
        joined: Option<Actor<'m>>,
        actions: &[Action],
        seed: u64,
        at: Option<u64>,
    ) -> Outcome<(Ended, Option<Actor<'m>>)> {
        let played = Cell::new(Ok(None));
        let ended = crash::run(at, || {
            let work = || {
                let mut actor = match joined {
                    Some(actor) => actor,
                    None => self.join(role, incarnation)?,
                };
                let mut rng = Rng::with_seed(seed);
                for action in actions {
                    match *action {
                        Action::Join => {}
                        Action::Perform(op) => drop(actor.perform(op, &mut rng)?),
                        Action::Leave => return Ok(None),
                    }
                }
                Ok(Some(actor))
            };
            played.set(work());
        });
        Ok((ended, played.into_inner()?))
    }

    /// Lets an incarnation die before store `at` of its joining and one operation.
    pub(crate) fn die(&self, role: usize, op: usize, at: u64) -> Outcome {
        self.memory.ledger.deaths().add(1);
        let actions = [Action::Perform(op), Action::Leave];
        let played = self.play(role, DYING, None, &actions, 5, Some(at));
        self.declare_gone(DYING);
        played.map(drop)
    }

    pub(crate) fn declare_gone(&self, incarnation: Incarnation) {
        self.observer.declare(incarnation, PartitionState::Gone);
    }
}
