//! The attachments of this process, and the thread that sends their heartbeats.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use shmem_registry::liveness::BEAT_INTERVAL;
use shmem_registry::{Attachment, Process};

use super::arguments::Detection;
use crate::incarnation::Incarnation;
use crate::memory::TestMemory;
use crate::observer::{LIMIT, Observer};
use crate::scenario::Scenario;
use crate::verdict::{OrViolation, Outcome, ensure};

pub(super) struct Attachments<'m> {
    memory: TestMemory<'m>,
    pub(super) detection: Detection,
    presume_gone: bool,
    process: Process,
    attachments: Mutex<Vec<Attachment<'m>>>,
    stopped: AtomicBool,
    evicted: AtomicBool,
}

impl<'m> Attachments<'m> {
    pub(super) fn new(memory: TestMemory<'m>, detection: Detection, scenario: &Scenario) -> Self {
        Self {
            memory,
            detection,
            presume_gone: scenario.presumes_gone(),
            process: Process::this(),
            attachments: Mutex::default(),
            stopped: AtomicBool::new(false),
            evicted: AtomicBool::new(false),
        }
    }

    /// Creates an observer for an actor of this process.
    pub(super) fn observer(&self) -> Observer<'m> {
        let registry = self.memory.registry;
        match self.detection {
            Detection::Pidfd => Observer::by_kernel(registry),
            Detection::Heartbeat => {
                let false_silences = self.memory.ledger.false_silences().word();
                Observer::by_heartbeat(registry, false_silences, self.presume_gone)
            }
        }
    }

    /// Attaches as the next incarnation of a partition, after the last one is gone.
    pub(super) fn attach(
        &self,
        partition: u8,
        observer: &mut Observer<'m>,
    ) -> Outcome<Incarnation> {
        let registry = self.memory.registry;
        let mut wait = observer.poll(LIMIT);
        let before = registry.partition(partition);
        let before = before.or_violation("reading a partition")?.incarnation;
        let attached = registry.attach_or_take_over(partition, self.process, &mut wait, observer);
        let attachment = attached.or_violation("attaching")?;
        let now = attachment.incarnation();
        ensure(
            before.is_none_or(|before| before.number() < now.number()),
            || format!("{now} attached after {before:?}"),
        )?;
        self.attachments().push(attachment);
        Ok(now)
    }

    /// Detaches, if it was attached.
    pub(super) fn leave(&self, incarnation: Incarnation) {
        self.attachments()
            .retain(|attachment| attachment.incarnation() != incarnation);
    }

    fn attachments(&self) -> MutexGuard<'_, Vec<Attachment<'m>>> {
        self.attachments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a violation if another took the place of an incarnation of this process.
    pub(super) fn ensure_not_evicted(&self) -> Outcome {
        ensure(!self.evicted.load(Relaxed), || {
            "another partition took the place of one that is not gone".to_owned()
        })
    }

    /// Sends heartbeats until the guard is dropped, if heartbeats detect deaths.
    pub(super) fn beat<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Beating<'env> {
        if self.detection == Detection::Heartbeat {
            scope.spawn(move || {
                while !self.stopped.load(Relaxed) {
                    let beaten = |attachment: &mut Attachment<'_>| attachment.beat().is_ok();
                    if !self.attachments().iter_mut().all(beaten) {
                        self.evicted.store(true, Relaxed);
                    }
                    thread::sleep(BEAT_INTERVAL / 2);
                }
            });
        }
        Beating(&self.stopped)
    }
}

/// Heartbeats end when this is dropped.
pub(super) struct Beating<'s>(&'s AtomicBool);

impl Drop for Beating<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
