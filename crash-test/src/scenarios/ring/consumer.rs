//! A life that pops, and holds what it gets against the account.

use std::time::Duration;

use fastrand::Rng;
use shmem_core::Life;
use shmem_core::ring::{ClaimError, Consumer, PopError, Ring, Unread};
use shmem_sync::{FutexBell, Liveness};

use super::super::record::Tag;
use super::book::{Book, Position};
use crate::deaths::Deaths;
use crate::scenario::{Actor, Outcome, Step, Violation, ensure, unexpected};

pub(super) const OPS: &[&str] = &["pop", "peek, release", "drain", "wait for a record"];

pub(super) struct Eater<'m> {
    consumer: Consumer<'m>,
    deaths: Deaths<'m>,
    checks: Checks<'m>,
}

/// What this life knows of the records it got.
struct Checks<'m> {
    book: Book<'m>,
    unread: Unread,
    /// Number of this life.
    life: u32,
    /// Whether no life before this one is known to have had the end.
    first: bool,
    /// Records that earlier lives may have released unseen.
    unknown: u32,
    /// The last record of this life.
    last: Option<Tag>,
    /// The producer's life that the next restart is told after, at the earliest.
    known: u32,
    /// Restarts that were told since the last record.
    told: u32,
}

impl<'m> Eater<'m> {
    pub(super) fn join(
        ring: Ring<'m>,
        book: Book<'m>,
        unread: Unread,
        life: Life,
        mut deaths: Deaths<'m>,
    ) -> Outcome<Self> {
        let number = book.begin_consumer();
        let first = book.consuming().get() == 0;
        let known = book.producing().get();
        if let Some(before) = ring.consuming() {
            deaths.until_known(|deaths| Ok(deaths.is_gone(before)))?;
        }
        let consumer = match ring.consumer(life, unread) {
            Err(ClaimError::Claimed { by }) if deaths.is_gone(by) => {
                ring.take_over_consumer(life, unread)
            }
            claimed => claimed,
        };
        let consumer = consumer.map_err(|error| {
            book.consumers().set(number - 1); // It did not begin.
            unexpected("claiming the consuming end")(error)
        })?;
        book.doubted().add(book.unknown().get());
        book.consuming().set(number);
        Ok(Self {
            consumer,
            deaths,
            checks: Checks {
                book,
                unread,
                life: number,
                first,
                unknown: book.unknown().get(),
                last: None,
                known,
                told: 0,
            },
        })
    }

    fn pop(&mut self) -> Outcome<Step> {
        let mut bytes = [0; 4096];
        let unknown = self.checks.book.unknown();
        unknown.set(self.checks.unknown + 1);
        let popped = self.consumer.pop(&mut bytes);
        if self.checks.is_replaced() {
            return late(popped);
        }
        match popped {
            Ok(len) => {
                self.checks.see(&bytes[..len])?;
                self.checks.release(1);
                self.notify()?;
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
            Err(error) if self.checks.is_replaced() => return late::<()>(Err(error)),
            Err(error) => return self.checks.refused(error),
        };
        if !self.checks.is_replaced() {
            self.checks.see(&bytes[..len])?;
        }
        let released = self.consumer.release();
        released.map_err(unexpected("releasing"))?;
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
            return late(drained);
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
        told.map(drop).map_err(unexpected("ringing"))
    }

    fn wait(&mut self) -> Outcome<Step> {
        let mut wait = self.deaths.patience(Duration::from_micros(300));
        match self.consumer.wait(&mut wait) {
            true => self.peek(),
            false => Ok(Step::Idle),
        }
    }
}

/// What a call comes to of one that comes late: the account is its heir's.
fn late<T>(popped: Result<T, PopError>) -> Outcome<Step> {
    match popped {
        Ok(_) => Ok(Step::Done),
        Err(PopError::Empty | PopError::Restarted) => Ok(Step::Idle),
        Err(error) => Err(unexpected("pop")(error)),
    }
}

impl Checks<'_> {
    /// Whether a later life has begun.
    fn is_replaced(&self) -> bool {
        self.book.consumers().get() != self.life
    }

    /// A record was handed out.
    fn see(&mut self, record: &[u8]) -> Outcome {
        let tag = Tag::of(record)
            .ok_or_else(|| Violation::new(format!("a record is not whole: {record:02x?}")))?;
        let attempted = self.book.attempted(tag.life).get();
        ensure(tag.number < attempted, || {
            format!("{tag:?} was never pushed")
        })?;
        match self.unread {
            Unread::Keep => self.is_next(tag)?,
            Unread::Discard => self.is_for_us(tag)?,
        }
        self.is_behind_its_seam(tag)?;
        if self.last.is_none() {
            // Now it is known where the lives before this one stopped.
            let count = tag.number;
            let life = tag.life;
            self.book.set_released(Position { life, count });
        }
        self.book.set_seen(Position::behind(tag));
        self.book.taken(tag.life).set(tag.number + 1);
        self.unknown = 0;
        self.last = Some(tag);
        Ok(())
    }

    /// So many records that were handed out are released.
    fn release(&mut self, count: usize) {
        self.book.popped().add(count as u32);
        self.book.set_released(self.book.seen());
        self.book.unknown().set(0);
    }

    /// Every acknowledged record, once and in order.
    fn is_next(&self, tag: Tag) -> Outcome {
        let (released, seen) = (self.book.released(), self.book.seen());
        let next = match self.last {
            Some(_) => self.book.follows(seen, tag, 0),
            None => [released, seen]
                .iter()
                .any(|&position| self.book.follows(position, tag, self.unknown)),
        };
        ensure(next, || {
            let produced = |life| self.book.produced(life);
            format!(
                "{tag:?} is lost, repeated or out of order: released {released:?}, seen {seen:?}, \
                 {} more unseen; produced in those lives: {:?}, {:?}",
                self.unknown,
                produced(released.life),
                produced(seen.life),
            )
        })
    }

    /// Only what was pushed for this life, and all of that.
    fn is_for_us(&self, tag: Tag) -> Outcome {
        let ours = tag.reader == self.life || tag.reader == 0 && self.first;
        ensure(ours, || {
            format!("{tag:?} was handed to the consumer's life {}", self.life)
        })?;
        let released = self.book.released();
        let fresh = (tag.life, tag.number) >= (released.life, released.count);
        ensure(fresh, || {
            format!("{tag:?} was handed out again: released {released:?}")
        })?;
        let expected = match self.last {
            Some(last) if last.life == tag.life => Some(last.number + 1),
            _ if tag.reader == 0 => None,
            _ => self.book.since(tag.life, tag.reader),
        };
        ensure(expected.is_none_or(|number| tag.number == number), || {
            format!("number {expected:?} is lost: next came {tag:?}")
        })
    }

    /// A restart was told for each change of the producer's life, and not else.
    fn is_behind_its_seam(&mut self, tag: Tag) -> Outcome {
        let told = core::mem::take(&mut self.told);
        let (least, most) = match self.last {
            Some(last) => (u32::from(last.life != tag.life), tag.life - last.life),
            None => (0, tag.life.saturating_sub(self.known)),
        };
        self.known = tag.life;
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
                let most = self.book.producers().get().saturating_sub(self.known);
                ensure(self.told <= most, || {
                    format!("{} restarts were told, {most} happened", self.told)
                })?;
                Ok(Step::Idle)
            }
            error => Err(unexpected("pop")(error)),
        }
    }
}

impl Actor for Eater<'_> {
    fn act(&mut self, op: usize, rng: &mut Rng) -> Outcome<Step> {
        match op {
            0 => self.pop(),
            1 => self.peek(),
            2 => self.drain(rng),
            _ => self.wait(),
        }
    }
}
