//! The presences of this process, and the thread that beats for them.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use shmem_core::Life;
use shmem_registry::liveness::BEAT;
use shmem_registry::{Presence, Process, Registry};

use super::Liveness;
use crate::deaths::{Deaths, LIMIT};
use crate::scenario::{Outcome, Scenario, ensure, unexpected};
use crate::stage::Stage;

/// Word of the ledger's session: lives that were silent and not over.
pub(super) const DOUBTS: usize = 2;

pub(super) struct Heart<'m> {
    stage: Stage<'m>,
    pub(super) liveness: Liveness,
    rash: bool,
    process: Process,
    presences: Mutex<Vec<Presence<'m>>>,
    stopped: AtomicBool,
    replaced: AtomicBool,
}

impl<'m> Heart<'m> {
    pub(super) fn new(stage: Stage<'m>, liveness: Liveness, scenario: &dyn Scenario) -> Self {
        Self {
            stage,
            liveness,
            rash: scenario.is_rash(),
            process: Process::this(),
            presences: Mutex::default(),
            stopped: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
        }
    }

    fn registry(&self) -> Registry<'m> {
        self.stage.registry
    }

    /// How a life of this process learns of deaths.
    pub(super) fn deaths(&self) -> Deaths<'m> {
        match self.liveness {
            Liveness::Pidfd => Deaths::of_processes(self.registry()),
            Liveness::Heartbeat => {
                let doubts = self.stage.ledger.session(DOUBTS);
                Deaths::by_heartbeat(self.registry(), doubts.word(), self.rash)
            }
        }
    }

    /// Attaches as the next life of a partition, once its last one is over.
    pub(super) fn attach(&self, partition: u8, deaths: &mut Deaths<'m>) -> Outcome<Life> {
        let mut wait = deaths.watch(LIMIT);
        let before = self.registry().partition(partition);
        let before = before.map_err(unexpected("looking at a partition"))?.life;
        let attached = self
            .registry()
            .attach_when_over(partition, self.process, &mut wait, deaths);
        let presence = attached.map_err(unexpected("attaching"))?;
        let life = presence.life();
        ensure(
            before.is_none_or(|before| before.incarnation() < life.incarnation()),
            || format!("{life} attached after {before:?}"),
        )?;
        self.presences().push(presence);
        Ok(life)
    }

    /// Leaves, if it was attached.
    pub(super) fn leave(&self, life: Life) {
        self.presences().retain(|presence| presence.life() != life);
    }

    fn presences(&self) -> MutexGuard<'_, Vec<Presence<'m>>> {
        self.presences
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another took the place of a life of ours.
    pub(super) fn is_robbed(&self) -> bool {
        self.replaced.load(Relaxed)
    }

    /// Beats until the guard is dropped, where anybody listens.
    pub(super) fn beat<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Beating<'env> {
        if self.liveness == Liveness::Heartbeat {
            scope.spawn(move || {
                while !self.stopped.load(Relaxed) {
                    let beaten = |presence: &mut Presence<'_>| presence.beat().is_ok();
                    if !self.presences().iter_mut().all(beaten) {
                        self.replaced.store(true, Relaxed);
                    }
                    thread::sleep(BEAT / 2);
                }
            });
        }
        Beating(&self.stopped)
    }
}

/// A heart that beats.
pub(super) struct Beating<'s>(&'s AtomicBool);

impl Drop for Beating<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
