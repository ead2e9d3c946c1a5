//! A party that pushes into a typed ring.

use std::time::Duration;

use fastrand::Rng;
use shmem_core::typed_ring::{ClaimError, PushError, TypedProducer, TypedRing};
use shmem_sync::{FutexBell, Liveness};

use super::record::Record;
use crate::kit::{Observer, OrViolation, Outcome, Party, Seat, Step, unexpected};
use crate::scenarios::ring::ring_ledger::RingLedger;
use crate::scenarios::tag::Tag;

pub(super) const OPS: &[&str] = &["push", "push a slice", "wait for space"];

pub(super) struct RecordProducer<'m> {
    producer: TypedProducer<'m, Record>,
    ledger: RingLedger<'m>,
    observer: Observer<'m>,
    /// The number of this incarnation.
    incarnation: u32,
    /// Records that were pushed.
    count: u32,
    /// The consumer's incarnation for which it pushes, as far as it knows.
    reader: u32,
}

impl<'m> RecordProducer<'m> {
    pub(super) fn join(seat: Seat<'m>) -> Outcome<Self> {
        let ring = TypedRing::attach(seat.memory.object).or_violation("attaching to the ring")?;
        let (us, mut observer) = (seat.incarnation, seat.observer);
        let ledger = RingLedger::new(seat.memory.ledger);
        let number = ledger.begin_producer();
        if let Some(before) = ring.producer_owner() {
            observer.retry_until_detected(|observer| Ok(observer.is_gone(before)))?;
        }
        let producer = match ring.claim_producer(us) {
            Err(ClaimError::Claimed { holder }) if observer.is_gone(holder) => {
                ring.take_over_producer(us)
            }
            claimed => claimed,
        };
        let producer = producer.map_err(|error| {
            ledger.producers.set(number - 1); // This one did not begin.
            unexpected("claiming the producing end", error)
        })?;
        ledger.producing.set(number);
        // Read after the claim: at least as new as what the producer knows.
        let reader = match ledger.consuming.get() {
            0 => 0,
            _ => ledger.consumers.get(),
        };
        ledger.set_since(number, reader, 0);
        Ok(Self {
            producer,
            ledger,
            observer,
            incarnation: number,
            count: 0,
            reader,
        })
    }

    /// Returns the record to push after `ahead` more records.
    fn record(&self, ahead: u32) -> Record {
        let tag = Tag {
            incarnation: self.incarnation,
            number: self.count + ahead,
            reader: self.reader,
        };
        let mut record = [0; size_of::<Record>()];
        record.copy_from_slice(&tag.record(size_of::<Record>()));
        record
    }

    /// Notes the first consumer before a push, if none was known.
    fn note_first_reader(&mut self) {
        if self.reader == 0 && self.ledger.consuming.get() != 0 {
            self.set_reader();
        }
    }

    fn set_reader(&mut self) {
        self.reader = self.ledger.consumers.get();
        self.ledger
            .set_since(self.incarnation, self.reader, self.count);
    }

    fn attempt(&self, count: u32) {
        self.ledger
            .attempted(self.incarnation)
            .set(self.count + count);
    }

    /// Handles the result of a push.
    fn pushed(&mut self, pushed: Result<u32, PushError>) -> Outcome<Step> {
        match pushed {
            Ok(count) => {
                self.count += count;
                self.ledger.acknowledged(self.incarnation).set(self.count);
                let notified = self.producer.notify(&FutexBell);
                notified.or_violation("notifying")?;
                Ok(Step::Done)
            }
            Err(error) => {
                self.attempt(0); // It pushed nothing.
                match error {
                    PushError::Full => {}
                    PushError::Restarted => self.set_reader(),
                    error => return Err(unexpected("push", error)),
                }
                Ok(Step::Idle)
            }
        }
    }

    fn push(&mut self) -> Outcome<Step> {
        let record = self.record(0);
        self.attempt(1);
        let pushed = self.producer.push(&record).map(|()| 1);
        self.pushed(pushed)
    }

    /// Pushes only as many as certainly fit, so that it is known what a death leaves.
    fn push_slice(&mut self, rng: &mut Rng) -> Outcome<Step> {
        let room = self.producer.remaining().max(1);
        let records: Vec<_> = (0..rng.u32(1..=6).min(room as u32))
            .map(|ahead| self.record(ahead))
            .collect();
        self.attempt(records.len() as u32);
        let pushed = self.producer.push_slice(&records);
        self.pushed(pushed.map(|count| count as u32))
    }

    fn wait_for_space(&mut self) -> Outcome<Step> {
        let mut wait = self.observer.wait(Duration::from_micros(300));
        match self.producer.wait_for_space(&mut wait) {
            Ok(true) => self.push(),
            Ok(false) => Ok(Step::Idle),
            Err(error) => self.pushed(Err(error)),
        }
    }
}

impl Party for RecordProducer<'_> {
    fn perform(&mut self, op: usize, rng: &mut Rng) -> Outcome<Step> {
        self.note_first_reader();
        match op {
            0 => self.push(),
            1 => self.push_slice(rng),
            _ => self.wait_for_space(),
        }
    }
}
