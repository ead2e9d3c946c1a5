//! A party that pushes.

use std::time::Duration;

use fastrand::Rng;
use shmem_core::ring::{ClaimError, Producer, PushError, Ring};
use shmem_sync::{FutexBell, Liveness};

use super::ring_ledger::RingLedger;
use crate::kit::{Observer, OrViolation, Outcome, Party, Seat, Step, unexpected};
use crate::scenarios::tag::{MIN, Tag};

pub(super) const OPS: &[&str] = &["push", "reserve, commit", "batch", "wait for space"];

pub(super) struct RecordProducer<'m> {
    producer: Producer<'m>,
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
        let ring = Ring::attach(seat.memory.object).or_violation("attaching to the ring")?;
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
    fn record(&self, ahead: u32, rng: &mut Rng) -> Vec<u8> {
        let longest = self.producer.ring().max_record().min(MIN + 200);
        let tag = Tag {
            incarnation: self.incarnation,
            number: self.count + ahead,
            reader: self.reader,
        };
        tag.record(rng.usize(MIN..=longest))
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

    fn acknowledge(&mut self, count: u32) -> Outcome {
        self.count += count;
        self.ledger.acknowledged(self.incarnation).set(self.count);
        let notified = self.producer.notify(&FutexBell);
        notified.map(drop).or_violation("notifying")
    }

    /// Handles an error of a push, which pushed nothing.
    fn refused(&mut self, error: PushError) -> Outcome<Step> {
        self.attempt(0);
        match error {
            PushError::Full => Ok(Step::Idle),
            PushError::Restarted => {
                self.set_reader();
                Ok(Step::Idle)
            }
            error => Err(unexpected("push", error)),
        }
    }

    fn push(&mut self, rng: &mut Rng) -> Outcome<Step> {
        let record = self.record(0, rng);
        self.attempt(1);
        match self.producer.push(&record) {
            Ok(()) => {
                self.acknowledge(1)?;
                Ok(Step::Done)
            }
            Err(error) => self.refused(error),
        }
    }

    fn reserve(&mut self, rng: &mut Rng) -> Outcome<Step> {
        let record = self.record(0, rng);
        let longest = self.producer.ring().max_record();
        let len = rng.usize(record.len()..=longest.min(record.len() + 40));
        self.attempt(1);
        let mut reservation = match self.producer.reserve(len) {
            Ok(reservation) => reservation,
            Err(error) => return self.refused(error),
        };
        if rng.u8(..) < 32 {
            // Dropped: the record does not exist.
            reservation.write(0, &record);
            drop(reservation);
            self.attempt(0);
            return Ok(Step::Done);
        }
        let (front, back) = record.split_at(record.len() / 16 * 8);
        reservation.write(front.len(), back);
        reservation.write(0, front);
        let committed = reservation.commit(record.len());
        committed.or_violation("committing")?;
        self.acknowledge(1)?;
        Ok(Step::Done)
    }

    fn batch(&mut self, rng: &mut Rng) -> Outcome<Step> {
        let records: Vec<_> = (0..rng.u32(1..=4)).map(|n| self.record(n, rng)).collect();
        let mut batch = self.producer.batch();
        let mut count = 0;
        let mut refused = None;
        for record in &records {
            match batch.push(record) {
                Ok(()) => count += 1,
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        if count != 0 {
            self.ledger
                .attempted(self.incarnation)
                .set(self.count + count);
            batch.publish().or_violation("publishing")?;
            self.acknowledge(count)?;
        }
        match refused {
            Some(error) if count == 0 => self.refused(error),
            Some(error) => self.refused(error).map(|_| Step::Done),
            None => Ok(Step::Done),
        }
    }

    fn wait_for_space(&mut self, rng: &mut Rng) -> Outcome<Step> {
        let mut wait = self.observer.wait(Duration::from_micros(300));
        let len = self.producer.ring().max_record();
        match self.producer.wait_for_space(len, &mut wait) {
            Ok(true) => self.push(rng),
            Ok(false) => Ok(Step::Idle),
            Err(error) => self.refused(error),
        }
    }
}

impl Party for RecordProducer<'_> {
    fn perform(&mut self, op: usize, rng: &mut Rng) -> Outcome<Step> {
        self.note_first_reader();
        match op {
            0 => self.push(rng),
            1 => self.reserve(rng),
            2 => self.batch(rng),
            _ => self.wait_for_space(rng),
        }
    }
}
