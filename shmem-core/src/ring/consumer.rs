//! The end of a ring that pops.

mod classify;
mod find;
mod state;

pub use self::state::{Consumer, DISCARDS};

use memoffset::offset_of;

use self::find::{Found, NotFound};
use self::state::Expected;
use super::error::PopError;
use super::memory::{Ring, SMALL};
use super::record::Record;
use super::resume::Start;
use crate::claim::{Claim, OnRestart};
use crate::doorbell::Doorbell;
use crate::layout::RingControl;
use crate::pace::Pace;
use crate::primitive::Ordering::Relaxed;
use crate::wait::Wait;

impl<'m> Consumer<'m> {
    pub(super) fn new(
        ring: Ring<'m>,
        (start, peer): (Start, u32),
        claim: Claim<'m>,
        epoch: u32,
        on_restart: OnRestart,
    ) -> Self {
        let mut consumer = Self {
            ring,
            head: start.position,
            stored_head: start.stored.head,
            expected: Expected::NONE,
            pace: Pace::new(start.position),
            peeked: start.position,
            epoch,
            peer,
            position_word: ring.position(),
            head_word: ring.head(),
            peer_epoch: ring.producer_epoch(),
            on_restart,
            // relaxed: stored before `position` and `head`, which were loaded with Acquire.
            discarded: ring.discarded().load(Relaxed),
            claim,
            terminal: None,
            records: ring.sleeper(offset_of!(RingControl, records)),
            space: ring.ringer(offset_of!(RingControl, space)),
        };
        if SMALL && start.position != start.stored.head {
            consumer.store_head(); // The claim was looked at just now.
        }
        if on_restart == OnRestart::Keep {
            // The seam is after what is kept, not before it.
            if let Err(NotFound::ProducerRestarted(peer)) = consumer.find_cold() {
                consumer.note_epoch(peer);
            }
        }
        consumer
    }

    /// The ring.
    pub fn ring(&self) -> &Ring<'m> {
        &self.ring
    }

    /// How often this end was claimed, with this time. From 65535 it goes on with 1.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Copies the next record into the front of `record`, releases it, and
    /// returns its length. Never waits, rings no bell.
    ///
    /// # Errors
    ///
    /// [`PopError::Empty`] if there is none, [`PopError::TooLong`] if it does
    /// not fit `record`, [`PopError::Restarted`] at the seam between two incarnations
    /// of the producer, [`PopError::Corrupt`] if it broke the protocol,
    /// [`PopError::Evicted`] if this end was taken over: what is in `record` then is
    /// another consumer's.
    #[inline(always)]
    pub fn pop(&mut self, record: &mut [u8]) -> Result<usize, PopError> {
        let found = self.next()?;
        let payload = Ring::payload(found.position);
        if !SMALL && found.len == record.len() {
            // The copy of a length that the caller's code has in it needs no loop.
            self.ring.data.read(payload, record);
        } else {
            let Some(bytes) = record.get_mut(..found.len) else {
                return Err(PopError::TooLong { len: found.len });
            };
            self.ring.data.read(payload, bytes);
        }
        self.advance(found.end())?;
        Ok(found.len)
    }

    /// The next record, in place; it stays the next until [`Consumer::release`].
    ///
    /// # Errors
    ///
    /// As [`Consumer::pop`], but for [`PopError::TooLong`].
    #[inline(always)]
    pub fn peek(&mut self) -> Result<Record<'_>, PopError> {
        Ok(self.peek_at()?.1)
    }

    /// As [`Consumer::peek`], with the position of the record.
    #[inline(always)]
    pub(super) fn peek_at(&mut self) -> Result<(u32, Record<'_>), PopError> {
        let found = self.next()?;
        self.peeked = found.end();
        Ok((found.position, self.record(found)))
    }

    /// Gives the record that was peeked last back to the producer. Does nothing
    /// if none was.
    ///
    /// # Errors
    ///
    /// [`PopError::Evicted`] if this end was taken over: the successor gets the
    /// record, too.
    #[inline(always)]
    pub fn release(&mut self) -> Result<(), PopError> {
        if self.peeked != self.head {
            return self.advance(self.peeked);
        }
        self.check_owned()
    }

    /// Hands up to `limit` records to `handle` and releases them together; the first one for which
    /// `handle` says `false` stays the next and ends it. Returns how many were released.
    ///
    /// # Errors
    ///
    /// [`PopError::Restarted`] or [`PopError::Corrupt`] as [`Consumer::pop`], by
    /// a call that finds no record before it. [`PopError::Evicted`] if this end was
    /// taken over: the successor gets all records of this call.
    pub fn drain(
        &mut self,
        limit: usize,
        mut handle: impl FnMut(Record<'_>) -> bool,
    ) -> Result<usize, PopError> {
        let mut end = self.head;
        let mut count = 0;
        let mut is_empty = false;
        let result = loop {
            // R2: an honest producer is at most a lap ahead; another one must
            // not lead us round and round.
            if count == limit || end.wrapping_sub(self.head) >= self.ring.data.len() {
                break Ok(count);
            }
            let found = if count == 0 {
                let found = self.next();
                end = self.head; // What is discarded lies before it.
                found
            } else {
                self.find(end).map_err(|not_found| match not_found {
                    NotFound::Terminal(PopError::Evicted) => PopError::Evicted,
                    _ => PopError::Empty,
                })
            };
            match found {
                Ok(found) => {
                    if !handle(self.record(found)) {
                        break Ok(count);
                    }
                    end = found.end();
                    count += 1;
                }
                Err(PopError::Empty) => {
                    is_empty = true;
                    break Ok(count);
                }
                Err(error) => break Err(error),
            }
        };
        if end != self.head {
            self.advance(end)?;
        }
        if is_empty {
            self.sync_head()?;
        }
        result
    }

    /// Whether there is nothing to say now. A seam counts as a record, and so do a
    /// broken ring, an eviction, and more to discard than [`DISCARDS`], so that a waiter
    /// comes back and learns of it.
    #[cfg_attr(not(feature = "small"), inline)]
    pub fn is_empty(&mut self) -> bool {
        (!SMALL && self.is_unchanged()) || self.is_empty_slow()
    }

    /// Whether nothing is published at `head`, and nothing else is to be said or to be given
    /// back.
    #[inline(always)]
    fn is_unchanged(&self) -> bool {
        // relaxed: nothing is read on its word.
        self.ring.data.load_pair(self.head, Relaxed)[0] == 0
            && self.peer_epoch.load(Relaxed) == self.peer
            && self.claim.is_ours()
            && self.stored_head == self.head
            && self.terminal.is_none()
    }

    fn is_empty_slow(&mut self) -> bool {
        for _ in 0..=DISCARDS {
            match self.find_cold() {
                Err(NotFound::Stale(found)) if self.discard(found).is_ok() => {}
                Err(NotFound::Empty) => return self.sync_head().is_ok(),
                _ => return false,
            }
        }
        false
    }

    /// Where the next record is, or will be: a position that counts on modulo
    /// 2^32, and the one at which a later incarnation resumes. [`Consumer::release`]
    /// moves it, so that who has noted it knows again what it had not released.
    pub fn position(&self) -> u32 {
        self.head
    }

    /// Records that consumers of this ring discarded, this one and those before
    /// it; counts on modulo 2^32. Never too few: a record is counted before it is given
    /// back, so a consumer that dies in between leaves it to be counted once more.
    pub fn discarded(&self) -> u32 {
        self.discarded
    }

    /// Waits until there is a record, or something to say; `false` if the deadline
    /// passes first.
    pub fn wait<W: Wait>(&mut self, wait: &mut W) -> bool {
        self.wait_or(wait, || false)
    }

    /// As [`Consumer::wait`], and until `other` says that there is something else to do, which
    /// the producer [notifies](super::Producer::notify) of as well.
    pub fn wait_or<W: Wait>(&mut self, wait: &mut W, mut other: impl FnMut() -> bool) -> bool {
        let records = self.records;
        let found = records.wait(wait, || (other() || !self.is_empty()).then_some(()));
        found.is_some()
    }

    /// Gives back what was released, and rings `doorbell` if the producer sleeps for space.
    /// Call it after releasing records. Returns whether it slept.
    ///
    /// Without it the producer learns of space when there is an eighth of the ring, and of all
    /// of it when a call finds no record.
    ///
    /// Its full fence lies between what was released and a last look at the claim: `Ok`
    /// says that a successor goes on after it.
    ///
    /// # Errors
    ///
    /// [`PopError::Evicted`] if this end was taken over.
    #[inline(always)]
    pub fn notify<D: Doorbell>(&mut self, doorbell: &D) -> Result<bool, PopError> {
        self.check_owned()?;
        self.sync_head()?;
        let slept = self.space.ring(doorbell);
        self.check_owned()?;
        Ok(slept)
    }

    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    fn record(&self, found: Found) -> Record<'_> {
        Record {
            payload: self
                .ring
                .data
                .window(Ring::payload(found.position), found.len),
            len: found.len,
        }
    }
}
