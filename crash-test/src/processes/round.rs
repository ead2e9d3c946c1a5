//! One round: memory, processes that may be killed, and survivors in the harness.

use std::time::{Duration, Instant};

use fastrand::Rng;
use shmem_core::Mapping;

use super::arguments::Task;
use super::attachments::Attachments;
use super::process::Process;
use crate::actor::{Actor, Role};
use crate::harness::Harness;
use crate::ledger::Slot;
use crate::observer::{LIMIT, Observer};
use crate::scenario::{Cast, Scenario};
use crate::scene::Scene;
use crate::verdict::{Outcome, Violation, ensure};
use crate::watchdog::{task, whereabouts};

/// The longest time that a process works before it is killed.
const LONGEST: Duration = Duration::from_millis(3);

/// How long a process may show no progress: longer than any of its waits, so that it can
/// report a timeout itself.
const PATIENCE: Duration = LIMIT.saturating_mul(2);

/// The first survivor's partition; those of processes begin at 1.
const SURVIVORS: u8 = 8;

pub(super) struct Round<'a, 'm> {
    pub(super) harness: Harness<'a>,
    pub(super) scenario: &'static Scenario,
    mapping: &'m Mapping,
    pub(super) scene: Scene<'m>,
    pub(super) cast: &'static Cast,
    pub(super) attachments: &'a Attachments<'m>,
    pub(super) rng: Rng,
    pub(super) processes: Vec<Option<Process>>,
    pub(super) survivors: Vec<Actor<'m>>,
}

impl<'a, 'm> Round<'a, 'm> {
    pub(super) fn open(
        harness: Harness<'a>,
        scenario: &'static Scenario,
        mapping: &'m Mapping,
        scene: Scene<'m>,
        attachments: &'a Attachments<'m>,
        mut rng: Rng,
    ) -> Outcome<Self> {
        let cast = &scenario.casts[rng.usize(..scenario.casts.len())];
        let mut round = Self {
            harness,
            scenario,
            mapping,
            scene,
            cast,
            attachments,
            rng,
            processes: cast.victims.iter().map(|_| None).collect(),
            survivors: Vec::new(),
        };
        for (at, &role) in cast.survivors.iter().enumerate() {
            let survivor = round.join(role, SURVIVORS + at as u8, attachments.observer())?;
            round.survivors.push(survivor);
        }
        Ok(round)
    }

    /// Lets the harness play a role as the next incarnation of a partition.
    pub(super) fn join(
        &self,
        role: usize,
        partition: u8,
        mut observer: Observer<'m>,
    ) -> Outcome<Actor<'m>> {
        let incarnation = self.attachments.attach(partition, &mut observer)?;
        self.scene.join_with(role, incarnation, observer)
    }

    /// The role of the process in a slot.
    pub(super) fn role(&self, slot: usize) -> &'static Role {
        &self.scene.roles[self.cast.victims[slot]]
    }

    /// The state that the process in a slot reports.
    pub(super) fn slot(&self, slot: usize) -> Slot<'m> {
        self.scene.memory.ledger.slot(slot)
    }

    /// The name of the current operation of the process in a slot.
    pub(super) fn doing(&self, slot: usize) -> &'static str {
        let doing = self.slot(slot).doing();
        doing.map_or("join", |op| self.role(slot).ops[op])
    }

    /// Starts the missing processes. The process in slot `target` may be armed: it kills itself
    /// at a chosen store.
    pub(super) fn start_missing(&mut self, target: Option<usize>) -> Outcome {
        let memory = self.scene.memory;
        for slot in 0..self.processes.len() {
            if self.processes[slot].is_some() {
                continue;
            }
            self.slot(slot).clear();
            let is_armed = Some(slot) == target && self.rng.u8(..) < 64;
            if is_armed {
                memory.ledger.deaths().add(1);
            }
            let task = Task {
                scenario: self.scenario.name.to_owned(),
                shape: memory.shape,
                slot,
                role: self.cast.victims[slot],
                partition: slot as u8 + 1,
                seed: self.rng.u64(..),
                detection: self.attachments.detection,
                parent: std::process::id(),
                armed: is_armed.then(|| self.rng.u64(..2000)),
            };
            self.processes[slot] = Some(Process::spawn(self.mapping, &task)?);
        }
        Ok(())
    }

    /// Lets the survivors work for a while. Most faults follow soon, so that many hit the first
    /// operations.
    pub(super) fn work_a_while(&mut self) -> Outcome {
        let part = self.rng.f64();
        let time = LONGEST.mul_f64(part * part);
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.work()?;
            if self.survivors.is_empty() {
                std::thread::sleep(time.min(Duration::from_micros(50)));
            }
        }
        Ok(())
    }

    /// Performs one operation of each survivor.
    pub(super) fn work(&mut self) -> Outcome {
        self.harness.watchdog.alive();
        for survivor in &mut self.survivors {
            survivor.perform_any(&mut self.rng, |_| {})?;
        }
        Ok(())
    }

    /// Works until `done`; after too long a time, returns an error that begins with `what`.
    pub(super) fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            self.work()?;
            self.ensure_no_process_ended()?;
            ensure(Instant::now() < deadline, || {
                format!("{what} after {PATIENCE:?}: {}", self.describe_processes())
            })?;
        }
        Ok(())
    }

    pub(super) fn wait_until_all_ready(&mut self) -> Outcome {
        self.until("a process does not begin", |round| {
            round.processes.iter().enumerate().all(|(slot, process)| {
                let armed = process.as_ref().is_some_and(|process| process.armed);
                round.slot(slot).ready.get() != 0 || armed
            })
        })
    }

    /// Waits until every living process has performed an operation.
    pub(super) fn wait_until_all_progress(&mut self) -> Outcome {
        let slots = 0..self.processes.len();
        let before: Vec<_> = slots.map(|slot| self.slot(slot).operations.get()).collect();
        self.until("a living process makes no progress", |round| {
            before.iter().enumerate().all(|(slot, &operations)| {
                round.processes[slot].is_none() || round.slot(slot).operations.get() != operations
            })
        })
    }

    /// Returns an error if a process ended that was not killed: it found a violation.
    fn ensure_no_process_ended(&mut self) -> Outcome {
        for process in &mut self.processes {
            let ended = |process: &mut Process| !process.armed && process.has_ended(Duration::ZERO);
            if let Some(process) = process.take_if(ended) {
                process.reap()?;
                return Err(Violation::new("a process was killed from outside"));
            }
        }
        Ok(())
    }

    /// Describes the current operations of the living processes.
    pub(super) fn describe_processes(&self) -> String {
        let living = self.processes.iter().enumerate();
        let at = living.filter_map(|(slot, process)| {
            let at = whereabouts(&task(process.as_ref()?.id()));
            let role = self.role(slot).name;
            Some(format!("\n  {role} in `{}`: {at}", self.doing(slot)))
        });
        at.collect()
    }
}
