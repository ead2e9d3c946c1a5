//! Checks each record that a consumer gets against the ledger.

use shmem_core::ring::OnRestart;

use super::ring_ledger::{Position, RingLedger};
use crate::kit::{Outcome, Step, Violation, ensure};
use crate::scenarios::tag::Tag;

/// The records that this incarnation got.
pub(in crate::scenarios) struct Checks<'m> {
    ledger: RingLedger<'m>,
    on_restart: OnRestart,
    /// The number of this incarnation.
    incarnation: u32,
    /// Whether no earlier incarnation is known to have had the end.
    first: bool,
    /// Records that earlier incarnations may have released unseen.
    unknown: u32,
    /// The last record that it got.
    last: Option<Tag>,
    /// The producer's incarnation after which the next restart is reported, at the earliest.
    known: u32,
    /// Restarts that were reported since the last record.
    reported: u32,
}

impl<'m> Checks<'m> {
    /// Call this before the end is claimed.
    pub(in crate::scenarios) fn begin(ledger: RingLedger<'m>, on_restart: OnRestart) -> Self {
        let incarnation = ledger.begin_consumer();
        Self {
            ledger,
            on_restart,
            incarnation,
            first: ledger.consuming.get() == 0,
            unknown: 0,
            last: None,
            known: ledger.producing.get(),
            reported: 0,
        }
    }

    /// Notes that the end was not claimed.
    pub(in crate::scenarios) fn give_up(&self) {
        self.ledger.consumers.set(self.incarnation - 1);
    }

    /// Notes that the end was claimed.
    pub(in crate::scenarios) fn claimed(&mut self) {
        self.unknown = self.ledger.unknown.get();
        self.ledger.doubted.add(self.unknown);
        self.ledger.consuming.set(self.incarnation);
    }

    /// Notes a call that may release up to `count` records that were not seen yet.
    pub(in crate::scenarios) fn attempt(&self, count: u32) {
        self.ledger.unknown.set(self.unknown + count);
    }

    /// Whether a later incarnation has begun.
    pub(in crate::scenarios) fn is_replaced(&self) -> bool {
        self.ledger.consumers.get() != self.incarnation
    }

    /// Checks and notes a record that was handed out.
    pub(in crate::scenarios) fn see(&mut self, record: &[u8]) -> Outcome {
        let tag = Tag::read(record)
            .ok_or_else(|| Violation::new(format!("incomplete record: {record:02x?}")))?;
        let attempted = self.ledger.attempted(tag.incarnation).get();
        ensure(tag.number < attempted, || {
            format!("{tag:?} was never pushed")
        })?;
        match self.on_restart {
            OnRestart::Keep => self.ensure_next(tag)?,
            OnRestart::Discard => self.ensure_for_us(tag)?,
        }
        self.ensure_restart_was_reported(tag)?;
        if self.last.is_none() {
            // Now it is known where the earlier incarnations stopped.
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

    /// Notes that `count` records that were handed out are released.
    pub(in crate::scenarios) fn release(&mut self, count: usize) {
        self.ledger.popped.add(count as u32);
        self.ledger.set_released(self.ledger.seen());
        self.ledger.unknown.set(0);
    }

    /// Checks that every acknowledged record comes once and in order.
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

    /// Checks that all records that were pushed for this incarnation come, and no others.
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
            format!("number {expected:?} is lost: {tag:?} came next")
        })
    }

    /// Checks that a restart was reported for each change of the producer's incarnation only.
    fn ensure_restart_was_reported(&mut self, tag: Tag) -> Outcome {
        let reported = std::mem::take(&mut self.reported);
        let (least, most) = match self.last {
            Some(last) => (
                u32::from(last.incarnation != tag.incarnation),
                tag.incarnation - last.incarnation,
            ),
            None => (0, tag.incarnation.saturating_sub(self.known)),
        };
        self.known = tag.incarnation;
        ensure((least..=most).contains(&reported), || {
            format!(
                "{reported} restarts were reported between {:?} and {tag:?}, not {least} to {most}",
                self.last
            )
        })
    }

    /// Notes that a pop reported a restart of the producer.
    pub(in crate::scenarios) fn restarted(&mut self) -> Outcome<Step> {
        self.reported += 1;
        let most = self.ledger.producers.get().saturating_sub(self.known);
        ensure(self.reported <= most, || {
            format!("{} restarts were reported, {most} happened", self.reported)
        })?;
        Ok(Step::Idle)
    }
}
