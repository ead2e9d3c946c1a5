//! The scene: the memory and the roles of one trial. Actors join it, work, and die or stop at
//! a store.

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

/// What the actors of one trial share.
pub(crate) struct Scene<'m> {
    pub(crate) roles: &'static [Role],
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) memory: TestMemory<'m>,
    pub(crate) observer: Observer<'m>,
}

impl<'m> Scene<'m> {
    /// Returns the same scene for another thread.
    pub(crate) fn share(&self) -> Self {
        Self {
            observer: self.observer.share(),
            ..*self
        }
    }

    /// Lets `incarnation` join in a role, and take over from a dead one if there is one.
    pub(crate) fn join(&self, role: usize, incarnation: Incarnation) -> Outcome<Actor<'m>> {
        self.join_with(role, incarnation, self.observer.share())
    }

    /// [`join`](Self::join) with an observer of its own.
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

    /// Lets `incarnation` join, unless it has `joined`, and perform `actions`, until it dies
    /// before its store `at` or has finished. Returns the actor if it has not left.
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

    /// Lets an incarnation join and perform one operation, and die before its store `at`.
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
