//! The end of a ring that pops.

mod classify;
mod find;
mod state;

pub use self::state::{Consumer, MAX_DISCARDS};

use memoffset::offset_of;

use self::find::{Found, NotFound};
use self::state::Guess;
use super::epoch::Acquired;
use super::error::PopError;
use super::memory::{Ring, SMALL};
use super::record::Record;
use crate::claim::OnRestart;
use crate::doorbell::{Doorbell, Ringer, Sleeper};
use crate::layout::RingControl;
use crate::primitive::Ordering::Relaxed;
use crate::wait::Wait;

impl<'m> Consumer<'m> {
    #[inline(always)]
    pub(super) fn new(ring: Ring<'m>, acquired: Acquired<'m>, on_restart: OnRestart) -> Self {
        let Acquired {
            start,
            peer,
            claim,
            epoch,
        } = acquired;
        Self {
            ring,
            head: start.position,
            stored_head: start.stored.head,
            guess: core::array::from_fn(|_| Guess::new(start.position)),
            peeked: start.position,
            epoch,
            peer,
            on_restart,
            // relaxed: stored before `position` and `head`, which were loaded with Acquire.
            discarded: ring.discarded().load(Relaxed),
            claim,
            terminal: None,
            records: Sleeper::new(ring.control.part(offset_of!(RingControl, records))),
            space: Ringer::new(ring.control.part(offset_of!(RingControl, space))),
        }
    }

    /// Stores `head` in small builds, and learns which producer's records are kept.
    pub(super) fn begin(&mut self) {
        if SMALL && self.head != self.stored_head {
            self.store_head(); // The claim was checked just now.
        }
        if self.on_restart == OnRestart::Keep {
            // The restart is reported after the records that are kept, not before them.
            if let Err(NotFound::ProducerRestarted(peer)) = self.find_cold() {
                self.note_epoch(peer);
            }
        }
    }

    /// Returns the ring.
    pub fn ring(&self) -> &Ring<'m> {
        &self.ring
    }

    /// Returns the epoch of this end, from 1; 1 follows 65535.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Copies the next record into the start of `record`, releases it, and
    /// returns its length. Never waits, never rings the doorbell.
    ///
    /// # Errors
    ///
    /// - [`PopError::Empty`] if there is no record.
    /// - [`PopError::TooLong`] if the record does not fit into `record`.
    /// - [`PopError::Restarted`] once, between the records of two epochs of the producer.
    /// - [`PopError::Corrupt`] if the producer broke the protocol.
    /// - [`PopError::Evicted`] if this end was taken over. Then `record` may contain a record
    ///   that the successor receives too.
    #[inline(always)]
    pub fn pop(&mut self, record: &mut [u8]) -> Result<usize, PopError> {
        let found = self.next()?;
        let payload = Ring::payload(found.position);
        if !SMALL && found.len() == record.len() {
            // A copy whose length the compiler knows in the caller needs no loop.
            self.ring.data.read(payload, record);
        } else {
            let Some(bytes) = record.get_mut(..found.len()) else {
                return Err(PopError::TooLong { len: found.len });
            };
            self.ring.data.read(payload, bytes);
        }
        self.advance(found.end())?;
        Ok(found.len())
    }

    /// Returns the next record in place. It stays the next one until [`Consumer::release`].
    ///
    /// # Errors
    ///
    /// As [`Consumer::pop`], except [`PopError::TooLong`].
    #[inline(always)]
    pub fn peek(&mut self) -> Result<Record<'_>, PopError> {
        Ok(self.peek_at()?.1)
    }

    /// As [`Consumer::peek`]; also returns the position of the record.
    #[inline(always)]
    pub(super) fn peek_at(&mut self) -> Result<(u32, Record<'_>), PopError> {
        let found = self.next()?;
        self.peeked = found.end();
        Ok((found.position, self.record(found)))
    }

    /// Releases the record that was peeked last to the producer. Does nothing
    /// if no record was peeked.
    ///
    /// # Errors
    ///
    /// [`PopError::Evicted`] if this end was taken over: the successor receives the
    /// record, too.
    #[inline(always)]
    pub fn release(&mut self) -> Result<(), PopError> {
        if self.peeked != self.head {
            return self.advance(self.peeked);
        }
        self.check_owned()
    }

    /// Passes up to `limit` records to `handle` and releases them together. Stops at the first
    /// record for which `handle` returns `false`; that one stays the next. Returns the number
    /// of records released.
    ///
    /// # Errors
    ///
    /// [`PopError::Restarted`] or [`PopError::Corrupt`] as [`Consumer::pop`], if this
    /// call found no record before it. [`PopError::Evicted`] if this end was
    /// taken over: the successor receives all records of this call.
    pub fn drain(
        &mut self,
        limit: usize,
        mut handle: impl FnMut(Record<'_>) -> bool,
    ) -> Result<usize, PopError> {
        let mut end = self.head;
        let mut count = 0;
        let mut is_empty = false;
        let result = loop {
            // R2: an honest producer is at most a lap ahead; a hostile one must
            // not keep us in this loop.
            if count == limit || end.wrapping_sub(self.head) >= self.ring.data.len() {
                break Ok(count);
            }
            let found = if count == 0 {
                let found = self.next();
                end = self.head; // Discarded records lie before it.
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

    /// Returns true if `pop` would return [`PopError::Empty`] and nothing is left to discard.
    /// Returns false also for a restart, a corrupt ring, an eviction, and more than
    /// [`MAX_DISCARDS`] records to discard, so that a waiter calls `pop` and receives the error.
    #[cfg_attr(not(feature = "small"), inline)]
    pub fn is_empty(&mut self) -> bool {
        (!SMALL && self.is_unchanged()) || self.is_empty_slow()
    }

    /// Returns true if no record is published at `head`, nothing is to be reported, and `head`
    /// in memory is up to date.
    #[inline(always)]
    fn is_unchanged(&self) -> bool {
        // relaxed: no other load depends on it.
        self.ring.data.load_pair(self.head, Relaxed)[0] == 0
            && self.ring.producer_epoch().load(Relaxed) == self.peer
            && self.claim.is_ours()
            && self.stored_head == self.head
            && self.terminal.is_none()
    }

    fn is_empty_slow(&mut self) -> bool {
        for _ in 0..=MAX_DISCARDS {
            match self.find_cold() {
                Err(NotFound::Stale(end)) if self.discard(end).is_ok() => {}
                Err(NotFound::Empty) => return self.sync_head().is_ok(),
                _ => return false,
            }
        }
        false
    }

    /// Returns the position of the next record, modulo 2^32. A later incarnation resumes
    /// there. [`Consumer::release`] moves it, so a consumer that saves it can recognize after a
    /// restart the record that it had not released.
    pub fn position(&self) -> u32 {
        self.head
    }

    /// Returns the number of records that this consumer and those before it discarded, modulo
    /// 2^32. It is never too low: a record is counted before it is released. If a consumer
    /// dies between the two, its successor counts that record again.
    pub fn discarded(&self) -> u32 {
        self.discarded
    }

    /// Waits until there is a record or an error to report. Returns `false` if the deadline
    /// passes first.
    pub fn wait<W: Wait>(&mut self, wait: &mut W) -> bool {
        self.wait_or(wait, || false)
    }

    /// As [`Consumer::wait`], but also ends when `other` returns `true`. A producer that makes
    /// `other` true must then call [`notify`](super::Producer::notify).
    pub fn wait_or<W: Wait>(&mut self, wait: &mut W, mut other: impl FnMut() -> bool) -> bool {
        let records = self.records;
        let found = records.wait(wait, || (other() || !self.is_empty()).then_some(()));
        found.is_some()
    }

    /// Stores `head`, and rings `doorbell` if the producer sleeps until there is space.
    /// Call it after releasing records. Returns true if the producer slept.
    ///
    /// Without it the producer sees free space only when an eighth of the ring is free, or when
    /// a call of this end finds no record.
    ///
    /// This call executes a full fence after the release, and checks the claim after the fence.
    /// After `Ok`, a successor resumes after the released records.
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
                .window(Ring::payload(found.position), found.len()),
            len: found.len(),
        }
    }
}
