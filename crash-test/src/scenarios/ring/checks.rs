//! What a consumer checks of each record that it gets, against the ledger.

use shmem_core::ring::OnRestart;

use super::ring_ledger::{Position, RingLedger};
use crate::kit::{Outcome, Step, Violation, ensure};
use crate::scenarios::tag::Tag;

/// What this incarnation knows of the records it got.
pub(in crate::scenarios) struct Checks<'m> {
    ledger: RingLedger<'m>,
    unread: OnRestart,
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

impl<'m> Checks<'m> {
    /// Before the end is claimed.
    pub(in crate::scenarios) fn begin(ledger: RingLedger<'m>, unread: OnRestart) -> Self {
        let incarnation = ledger.begin_consumer();
        Self {
            ledger,
            unread,
            incarnation,
            first: ledger.consuming.get() == 0,
            unknown: 0,
            last: None,
            known: ledger.producing.get(),
            told: 0,
        }
    }

    /// The end was not claimed.
    pub(in crate::scenarios) fn give_up(&self) {
        self.ledger.consumers.set(self.incarnation - 1);
    }

    /// The end was claimed.
    pub(in crate::scenarios) fn claimed(&mut self) {
        self.unknown = self.ledger.unknown.get();
        self.ledger.doubted.add(self.unknown);
        self.ledger.consuming.set(self.incarnation);
    }

    /// Before a call that releases up to `count` records which nobody has seen yet.
    pub(in crate::scenarios) fn attempt(&self, count: u32) {
        self.ledger.unknown.set(self.unknown + count);
    }

    /// Whether a later incarnation has begun.
    pub(in crate::scenarios) fn is_replaced(&self) -> bool {
        self.ledger.consumers.get() != self.incarnation
    }

    /// A record was handed out.
    pub(in crate::scenarios) fn see(&mut self, record: &[u8]) -> Outcome {
        let tag = Tag::read(record)
            .ok_or_else(|| Violation::new(format!("a record is not whole: {record:02x?}")))?;
        let attempted = self.ledger.attempted(tag.incarnation).get();
        ensure(tag.number < attempted, || {
            format!("{tag:?} was never pushed")
        })?;
        match self.unread {
            OnRestart::Keep => self.ensure_next(tag)?,
            OnRestart::Discard => self.ensure_for_us(tag)?,
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
    pub(in crate::scenarios) fn release(&mut self, count: usize) {
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

    /// A pop said that the producer was restarted.
    pub(in crate::scenarios) fn restarted(&mut self) -> Outcome<Step> {
        self.told += 1;
        let most = self.ledger.producers.get().saturating_sub(self.known);
        ensure(self.told <= most, || {
            format!("{} restarts were told, {most} happened", self.told)
        })?;
        Ok(Step::Idle)
    }
}
