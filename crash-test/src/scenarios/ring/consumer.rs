//! A party that pops, and checks its records against the ledger.

use std::time::Duration;

use fastrand::Rng;
use shmem_core::ring::{ClaimError, Consumer, OnRestart, PopError, Ring};
use shmem_sync::{FutexBell, Liveness};

use super::checks::Checks;
use super::ring_ledger::RingLedger;
use crate::kit::{Observer, OrViolation, Outcome, Party, Seat, Step, unexpected};

pub(super) const OPS: &[&str] = &[
    "pop",
    "peek, release",
    "drain",
    "wait for a record",
    "pop one after another",
];

pub(super) struct RecordConsumer<'m> {
    consumer: Consumer<'m>,
    observer: Observer<'m>,
    checks: Checks<'m>,
}

impl<'m> RecordConsumer<'m> {
    pub(super) fn join(seat: Seat<'m>, on_restart: OnRestart) -> Outcome<Self> {
        let ring = Ring::attach(seat.memory.object).or_violation("attaching to the ring")?;
        let (us, mut observer) = (seat.incarnation, seat.observer);
        let ledger = RingLedger::new(seat.memory.ledger);
        let mut checks = Checks::begin(ledger, on_restart);
        if let Some(before) = ring.consumer_owner() {
            observer.retry_until_detected(|observer| Ok(observer.is_gone(before)))?;
        }
        let consumer = match ring.claim_consumer(us, on_restart) {
            Err(ClaimError::Claimed { holder }) if observer.is_gone(holder) => {
                ring.take_over_consumer(us, on_restart)
            }
            claimed => claimed,
        };
        let consumer = consumer.map_err(|error| {
            checks.give_up();
            unexpected("claiming the consuming end", error)
        })?;
        checks.claimed();
        Ok(Self {
            consumer,
            observer,
            checks,
        })
    }

    fn pop(&mut self) -> Outcome<Step> {
        let step = self.pop_silently()?;
        if step == Step::Done && !self.checks.is_replaced() {
            self.notify()?;
        }
        Ok(step)
    }

    /// Pops some records; releases them later, if not at the end.
    fn pop_several(&mut self, rng: &mut Rng) -> Outcome<Step> {
        let mut result = Step::Idle;
        for _ in 0..rng.u32(2..12) {
            match self.pop_silently()? {
                Step::Done => result = Step::Done,
                _ => break,
            }
        }
        if rng.bool() && !self.checks.is_replaced() {
            self.notify()?;
        }
        Ok(result)
    }

    /// Pops a record without notifying the producer; the ring decides when it does.
    fn pop_silently(&mut self) -> Outcome<Step> {
        let mut bytes = [0; 4096];
        self.checks.attempt(1);
        let popped = self.consumer.pop(&mut bytes);
        if self.checks.is_replaced() {
            return evicted(popped);
        }
        match popped {
            Ok(len) => {
                self.checks.see(&bytes[..len])?;
                self.checks.release(1);
                Ok(Step::Done)
            }
            Err(error) => {
                self.checks.attempt(0);
                refused(&mut self.checks, error)
            }
        }
    }

    fn peek(&mut self) -> Outcome<Step> {
        let mut bytes = [0; 4096];
        let len = match self.consumer.peek() {
            Ok(record) => record.read(0, &mut bytes),
            Err(error) if self.checks.is_replaced() => return evicted::<()>(Err(error)),
            Err(error) => return refused(&mut self.checks, error),
        };
        if !self.checks.is_replaced() {
            self.checks.see(&bytes[..len])?;
        }
        let released = self.consumer.release();
        released.or_violation("releasing")?;
        if self.checks.is_replaced() {
            return Ok(Step::Done);
        }
        self.checks.release(1);
        self.notify()?;
        Ok(Step::Done)
    }

    fn drain(&mut self, rng: &mut Rng) -> Outcome<Step> {
        let checks = &mut self.checks;
        let mut seen = Ok(());
        let drained = self.consumer.drain(rng.usize(1..6), |record| {
            let mut bytes = [0; 4096];
            let len = record.read(0, &mut bytes);
            if checks.is_replaced() {
                return true;
            }
            seen = checks.see(&bytes[..len]);
            seen.is_ok()
        });
        seen?;
        if checks.is_replaced() {
            return evicted(drained);
        }
        match drained {
            Ok(0) => Ok(Step::Idle),
            Ok(count) => {
                checks.release(count);
                self.notify()?;
                Ok(Step::Done)
            }
            Err(error) => refused(checks, error),
        }
    }

    fn notify(&mut self) -> Outcome {
        let notified = self.consumer.notify(&FutexBell);
        notified.map(drop).or_violation("notifying")
    }

    fn wait(&mut self) -> Outcome<Step> {
        let mut wait = self.observer.wait(Duration::from_micros(300));
        match self.consumer.wait(&mut wait) {
            true => self.peek(),
            false => Ok(Step::Idle),
        }
    }
}

/// Handles an error of a pop, which popped nothing.
fn refused(checks: &mut Checks<'_>, error: PopError) -> Outcome<Step> {
    match error {
        PopError::Empty => Ok(Step::Idle),
        PopError::Restarted => checks.restarted(),
        error => Err(unexpected("pop", error)),
    }
}

/// Handles a pop of an evicted consumer; its successor uses the ledger.
fn evicted<T>(popped: Result<T, PopError>) -> Outcome<Step> {
    match popped {
        Ok(_) => Ok(Step::Done),
        Err(PopError::Empty | PopError::Restarted) => Ok(Step::Idle),
        Err(error) => Err(unexpected("pop", error)),
    }
}

impl Party for RecordConsumer<'_> {
    fn perform(&mut self, op: usize, rng: &mut Rng) -> Outcome<Step> {
        match op {
            0 => self.pop(),
            1 => self.peek(),
            2 => self.drain(rng),
            3 => self.wait(),
            _ => self.pop_several(rng),
        }
    }
}
