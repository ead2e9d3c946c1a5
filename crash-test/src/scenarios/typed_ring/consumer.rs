//! A party that pops from a typed ring, and checks its records against the ledger.

use std::time::Duration;

use fastrand::Rng;
use shmem_core::typed_ring::{ClaimError, OnRestart, PopError, TypedConsumer, TypedRing};
use shmem_sync::{FutexBell, Liveness};

use super::record::Record;
use crate::kit::{Observer, OrViolation, Outcome, Party, Seat, Step, unexpected};
use crate::scenarios::ring::checks::Checks;
use crate::scenarios::ring::ring_ledger::RingLedger;

pub(super) const OPS: &[&str] = &[
    "pop",
    "peek, release",
    "pop a slice",
    "wait for a record",
    "pop one after another",
];

pub(super) struct RecordConsumer<'m> {
    consumer: TypedConsumer<'m, Record>,
    observer: Observer<'m>,
    checks: Checks<'m>,
}

impl<'m> RecordConsumer<'m> {
    pub(super) fn join(seat: Seat<'m>, on_restart: OnRestart) -> Outcome<Self> {
        let ring = TypedRing::attach(seat.memory.object).or_violation("attaching to the ring")?;
        let (us, mut observer) = (seat.incarnation, seat.observer);
        let mut checks = Checks::begin(RingLedger::new(seat.memory.ledger), on_restart);
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
        let step = self.pop_silently(1)?;
        if step == Step::Done && !self.checks.is_replaced() {
            self.notify()?;
        }
        Ok(step)
    }

    /// Pops some records; releases them later, if not at the end.
    fn pop_several(&mut self, rng: &mut Rng) -> Outcome<Step> {
        let mut result = Step::Idle;
        for _ in 0..rng.u32(2..12) {
            match self.pop_silently(1)? {
                Step::Done => result = Step::Done,
                _ => break,
            }
        }
        if rng.bool() && !self.checks.is_replaced() {
            self.notify()?;
        }
        Ok(result)
    }

    /// Pops up to `most` records without notifying the producer; the ring decides when it does.
    fn pop_silently(&mut self, most: usize) -> Outcome<Step> {
        let mut records = [[0; size_of::<Record>()]; 6];
        self.checks.attempt(most as u32);
        let popped = match most {
            1 => self.consumer.pop_into(&mut records[0]).map(|()| 1),
            _ => self.consumer.pop_slice(&mut records[..most]),
        };
        let is_replaced = self.checks.is_replaced();
        match popped {
            // It owns what it got; its successor uses the ledger.
            Ok(1..) if is_replaced => Ok(Step::Done),
            Ok(count @ 1..) => {
                for record in &records[..count] {
                    self.checks.see(record)?;
                }
                self.checks.release(count);
                Ok(Step::Done)
            }
            Ok(_) => self.refused(PopError::Empty),
            Err(error) => self.refused(error),
        }
    }

    fn peek(&mut self) -> Outcome<Step> {
        let record = match self.consumer.peek() {
            Ok(record) => record,
            Err(error) => return self.refused(error),
        };
        if !self.checks.is_replaced() {
            self.checks.see(&record)?;
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

    /// Handles an error of a pop, which popped nothing.
    fn refused(&mut self, error: PopError) -> Outcome<Step> {
        let is_replaced = self.checks.is_replaced();
        if !is_replaced {
            self.checks.attempt(0);
        }
        match error {
            PopError::Restarted if !is_replaced => self.checks.restarted(),
            PopError::Empty | PopError::Restarted => Ok(Step::Idle),
            error => Err(unexpected("pop", error)),
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

impl Party for RecordConsumer<'_> {
    fn perform(&mut self, op: usize, rng: &mut Rng) -> Outcome<Step> {
        match op {
            0 => self.pop(),
            1 => self.peek(),
            2 => self.pop_silently(rng.usize(2..=6)),
            3 => self.wait(),
            _ => self.pop_several(rng),
        }
    }
}
