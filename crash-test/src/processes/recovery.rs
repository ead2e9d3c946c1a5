//! The recovery from a death: others take the places of the dead, and audit.

use std::time::Instant;

use super::round::Round;
use crate::actor::Actor;
use crate::observer::LIMIT;
use crate::verdict::{Outcome, Violation, ensure};

/// The first partition of successors that do not reuse the number of the dead.
const SUCCESSORS: u8 = 12;
/// The first partition of actors in roles that have no actor any more.
const AUDITORS: u8 = 5;

impl<'m> Round<'_, 'm> {
    /// Lets the roles of the dead be played again until they work, and notes how long that
    /// took. Successors play the exclusive roles; they are returned.
    pub(super) fn recover(&mut self, targets: &[usize], dead: Instant) -> Outcome<Vec<Actor<'m>>> {
        let played = targets.iter().map(|&slot| (slot, self.cast.victims[slot]));
        let (alone, shared): (Vec<_>, Vec<_>) =
            played.partition(|&(_, role)| self.scene.roles[role].exclusive);
        let mut successors = self.successors(&alone)?;
        let mut unproven: Vec<_> = successors.iter().map(|actor| actor.place).collect();
        unproven.extend(shared.into_iter().map(|(_, role)| role));
        let deadline = dead + LIMIT;
        while !unproven.is_empty() {
            self.harness.watchdog.alive();
            self.prove(&mut successors, &mut unproven)?;
            if unproven.is_empty() {
                break;
            }
            self.work()?;
            ensure(Instant::now() < deadline, || {
                let names = unproven.iter().map(|&role| self.scene.roles[role].name);
                let names: Vec<_> = names.collect();
                let about = (self.scenario.describe)(&self.scene.memory);
                format!(
                    "{} cannot work {LIMIT:?} after the death; {about}{}",
                    names.join(", "),
                    self.describe_processes()
                )
            })?;
        }
        self.harness.tally.counts().recoveries.push(dead.elapsed());
        Ok(successors)
    }

    /// Lets each actor that can show that a role works try it once.
    fn prove(&mut self, successors: &mut [Actor<'m>], unproven: &mut Vec<usize>) -> Outcome {
        let count = successors.len();
        let actors = successors.iter_mut().chain(&mut self.survivors);
        for (at, actor) in actors.enumerate() {
            let open = unproven.iter().position(|&role| role == actor.place);
            // Others may need a successor that has already shown that it works.
            if (at < count || open.is_some()) && actor.recover(&mut self.rng)? {
                open.map(|open| unproven.remove(open));
            }
        }
        Ok(())
    }

    /// Creates actors in place of the dead in these slots and roles.
    fn successors(&mut self, dead: &[(usize, usize)]) -> Outcome<Vec<Actor<'m>>> {
        let watching = dead.iter().map(|&(slot, role)| {
            let mut observer = self.attachments.observer();
            // All watch at the same time, since detection may take time.
            observer.watch_all(&self.scene.memory.registry);
            let partition = slot as u8 + if self.rng.bool() { 1 } else { SUCCESSORS };
            (role, partition, observer)
        });
        let watching: Vec<_> = watching.collect();
        watching
            .into_iter()
            .map(|(role, partition, observer)| self.join(role, partition, observer))
            .collect()
    }

    /// Lets the processes rest and the scenario audit, unless a living process has a role that
    /// the audit needs. Ends the successors.
    pub(super) fn audit(&mut self, mut successors: Vec<Actor<'m>>, end: bool) -> Outcome {
        let mut slots = 0..self.processes.len();
        let busy = slots.any(|slot| self.role(slot).exclusive && self.processes[slot].is_some());
        if end || self.scenario.audits_each_death && !busy {
            for role in 0..self.scene.roles.len() {
                let is_it = |actor: &Actor<'_>| actor.place == role;
                if !successors.iter().chain(&self.survivors).any(is_it) {
                    let partition = AUDITORS + role as u8;
                    successors.push(self.join(role, partition, self.attachments.observer())?);
                }
            }
            self.rest()?;
            let audited = self.audit_at_rest(&mut successors, end);
            self.scene.memory.ledger.rest().set(0);
            audited?;
        }
        for actor in successors {
            let incarnation = actor.incarnation;
            drop(actor);
            self.attachments.leave(incarnation);
        }
        Ok(())
    }

    /// Waits until all living processes rest.
    fn rest(&mut self) -> Outcome {
        self.scene.memory.ledger.rest().set(1);
        self.until("a living process does not come to rest", |round| {
            let mut processes = round.processes.iter().enumerate();
            processes
                .all(|(slot, process)| process.is_none() || round.slot(slot).resting.get() != 0)
        })
    }

    fn audit_at_rest(&mut self, successors: &mut [Actor<'m>], end: bool) -> Outcome {
        let mut parts: Vec<Option<&mut Actor<'m>>> = Vec::new();
        parts.resize_with(self.scene.roles.len(), || None);
        for actor in successors.iter_mut().chain(&mut self.survivors) {
            parts[actor.place].get_or_insert(actor);
        }
        let mut actors: Vec<_> = parts.into_iter().flatten().collect();
        let scene = self
            .scenario
            .scene(self.scene.memory, self.attachments.observer());
        let audited = (self.scenario.audit)(&scene, &mut actors, end);
        audited.map_err(|found| Violation::new(format!("at rest: {found}")))
    }
}
