//! A party that pops, and holds what it gets against the ledger.

use std::time::Duration;

use fastrand::Rng;
use shmem_core::ring::{ClaimError, Consumer, PopError, Ring, Unread};
use shmem_sync::{FutexBell, Liveness};

use super::ring_ledger::{Position, RingLedger};
use crate::kit::{
    Observer, OrViolation, Outcome, Party, Seat, Step, Violation, ensure, unexpected,
};
use crate::scenarios::tag::Tag;

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

/// What this incarnation knows of the records it got.
struct Checks<'m> {
    ledger: RingLedger<'m>,
    unread: Unread,
    /// Number of this incarnation.
    incarnation: u32,
    /// Whether none before this one is known to have had the end.
    first: bool,
    /// Records that earlier ones may have released unseen.
    unknown: u32,
    /// The last record that it got.
    last: Option<Tag>,
    /// The producer's incarnation that the next restart is told after, at the earliest.
    known: u32,
    /// Restarts that were told since the last record.
    told: u32,
}

impl<'m> RecordConsumer<'m> {
    pub(super) fn join(seat: Seat<'m>, unread: Unread) -> Outcome<Self> {
        let ring = Ring::attach(seat.memory.object).or_violation("attaching to the ring")?;
        let (us, mut observer) = (seat.incarnation, seat.observer);
        let ledger = RingLedger::new(seat.memory.ledger);
        let number = ledger.begin_consumer();
        let first = ledger.consuming.get() == 0;
        let known = ledger.producing.get();
        if let Some(before) = ring.consuming() {
            observer.until_known(|observer| Ok(observer.is_gone(before)))?;
        }
        let consumer = match ring.consumer(us, unread) {
            Err(ClaimError::Claimed { by }) if observer.is_gone(by) => {
                ring.take_over_consumer(us, unread)
            }
            claimed => claimed,
        };
        let consumer = consumer.map_err(|error| {
            ledger.consumers.set(number - 1); // It did not begin.
            unexpected("claiming the consuming end", error)
        })?;
        ledger.doubted.add(ledger.unknown.get());
        ledger.consuming.set(number);
        Ok(Self {
            consumer,
            observer,
            checks: Checks {
                ledger,
                unread,
                incarnation: number,
                first,
                unknown: ledger.unknown.get(),
                last: None,
                known,
                told: 0,
            },
        })
    }

    fn pop(&mut self) -> Outcome<Step> {
        let step = self.pop_silently()?;
        if step == Step::Done && !self.checks.is_replaced() {
            self.notify()?;
        }
        Ok(step)
    }

    /// Pops some records and gives them back later, if not at the end of it.
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

    /// Pops a record, and leaves it to the ring when the producer is told.
    fn pop_silently(&mut self) -> Outcome<Step> {
        let mut bytes = [0; 4096];
        let unknown = self.checks.ledger.unknown;
        unknown.set(self.checks.unknown + 1);
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
                unknown.set(self.checks.unknown);
                self.checks.refused(error)
            }
        }
    }

    fn peek(&mut self) -> Outcome<Step> {
        let mut bytes = [0; 4096];
        let len = match self.consumer.peek() {
            Ok(record) => record.read(0, &mut bytes),
            Err(error) if self.checks.is_replaced() => return evicted::<()>(Err(error)),
            Err(error) => return self.checks.refused(error),
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
            Err(error) => checks.refused(error),
        }
    }

    fn notify(&mut self) -> Outcome {
        let told = self.consumer.notify(&FutexBell);
        told.map(drop).or_violation("ringing")
    }

    fn wait(&mut self) -> Outcome<Step> {
        let mut wait = self.observer.wait(Duration::from_micros(300));
        match self.consumer.wait(&mut wait) {
            true => self.peek(),
            false => Ok(Step::Idle),
        }
    }
}

/// What a call comes to of one that was evicted: the ledger is its successor's.
fn evicted<T>(popped: Result<T, PopError>) -> Outcome<Step> {
    match popped {
        Ok(_) => Ok(Step::Done),
        Err(PopError::Empty | PopError::Restarted) => Ok(Step::Idle),
        Err(error) => Err(unexpected("pop", error)),
    }
}

impl Checks<'_> {
    /// Whether a later incarnation has begun.
    fn is_replaced(&self) -> bool {
        self.ledger.consumers.get() != self.incarnation
    }

    /// A record was handed out.
    fn see(&mut self, record: &[u8]) -> Outcome {
        let tag = Tag::read(record)
            .ok_or_else(|| Violation::new(format!("a record is not whole: {record:02x?}")))?;
        let attempted = self.ledger.attempted(tag.incarnation).get();
        ensure(tag.number < attempted, || {
            format!("{tag:?} was never pushed")
        })?;
        match self.unread {
            Unread::Keep => self.ensure_next(tag)?,
            Unread::Discard => self.ensure_for_us(tag)?,
        }
        self.ensure_restart_was_told(tag)?;
        if self.last.is_none() {
            // Now it is known where those before this one stopped.
            self.ledger.set_released(Position {
                incarnation: tag.incarnation,
                count: tag.number,
            });
        }
        self.ledger.set_seen(Position::after(tag));
        self.ledger.taken(tag.incarnation).set(tag.number + 1);
        self.unknown = 0;
        self.last = Some(tag);
        Ok(())
    }

    /// So many records that were handed out are released.
    fn release(&mut self, count: usize) {
        self.ledger.popped.add(count as u32);
        self.ledger.set_released(self.ledger.seen());
        self.ledger.unknown.set(0);
    }

    /// Every acknowledged record, once and in order.
    fn ensure_next(&self, tag: Tag) -> Outcome {
        let (released, seen) = (self.ledger.released(), self.ledger.seen());
        let next = match self.last {
            Some(_) => self.ledger.follows(seen, tag, 0),
            None => [released, seen]
                .iter()
                .any(|&position| self.ledger.follows(position, tag, self.unknown)),
        };
        ensure(next, || {
            let produced = |number| self.ledger.produced(number);
            format!(
                "{tag:?} is lost, repeated or out of order: released {released:?}, seen {seen:?}, \
                 {} more unseen; produced in those incarnations: {:?}, {:?}",
                self.unknown,
                produced(released.incarnation),
                produced(seen.incarnation),
            )
        })
    }

    /// Only what was pushed for this incarnation, and all of that.
    fn ensure_for_us(&self, tag: Tag) -> Outcome {
        let ours = tag.reader == self.incarnation || tag.reader == 0 && self.first;
        ensure(ours, || {
            format!(
                "{tag:?} was handed to the consumer's incarnation {}",
                self.incarnation
            )
        })?;
        let released = self.ledger.released();
        let fresh = (tag.incarnation, tag.number) >= (released.incarnation, released.count);
        ensure(fresh, || {
            format!("{tag:?} was handed out again: released {released:?}")
        })?;
        let expected = match self.last {
            Some(last) if last.incarnation == tag.incarnation => Some(last.number + 1),
            _ if tag.reader == 0 => None,
            _ => self.ledger.since(tag.incarnation, tag.reader),
        };
        ensure(expected.is_none_or(|number| tag.number == number), || {
            format!("number {expected:?} is lost: next came {tag:?}")
        })
    }

    /// A restart was told for each change of the producer's incarnation, and not else.
    fn ensure_restart_was_told(&mut self, tag: Tag) -> Outcome {
        let told = std::mem::take(&mut self.told);
        let (least, most) = match self.last {
            Some(last) => (
                u32::from(last.incarnation != tag.incarnation),
                tag.incarnation - last.incarnation,
            ),
            None => (0, tag.incarnation.saturating_sub(self.known)),
        };
        self.known = tag.incarnation;
        ensure((least..=most).contains(&told), || {
            format!(
                "{told} restarts were told between {:?} and {tag:?}, not {least} to {most}",
                self.last
            )
        })
    }

    /// What an error of a pop comes to; it popped nothing.
    fn refused(&mut self, error: PopError) -> Outcome<Step> {
        match error {
            PopError::Empty => Ok(Step::Idle),
            PopError::Restarted => {
                self.told += 1;
                let most = self.ledger.producers.get().saturating_sub(self.known);
                ensure(self.told <= most, || {
                    format!("{} restarts were told, {most} happened", self.told)
                })?;
                Ok(Step::Idle)
            }
            error => Err(unexpected("pop", error)),
        }
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
