//! The end of a ring that pops.

use memoffset::offset_of;

use super::header::{stride, Header};
use super::{unclaim, ClaimError, PopError, Record, Ring};
use crate::doorbell::{Doorbell, Ringer, Sleeper};
use crate::error::Corrupt;
use crate::layout::RingControl;
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::wait::Wait;

/// The end that pops. Dropping it gives the claim back.
///
/// Aligned so that the two ends of a ring in one program do not share a line.
#[repr(align(128))]
pub struct Consumer<'m> {
    ring: Ring<'m>,
    /// Our position: the first record not released. The copy in memory is write-only.
    head: u32,
    /// Where the record that was peeked last ends; `head` if none was.
    peeked: u32,
    corrupt: Option<Corrupt>,
    partition: u8,
    records: Sleeper<'m>,
    space: Ringer<'m>,
}

/// Where the next record is.
#[derive(Clone, Copy)]
struct Found {
    position: u32,
    len: usize,
}

impl<'m> Consumer<'m> {
    pub(super) fn resume(ring: Ring<'m>, partition: u8) -> Result<Self, ClaimError> {
        // Relaxed: stored by an earlier life of this end, which is over.
        let head = ring.head().load(Relaxed);
        if head % 8 != 0 {
            return Err(ClaimError::Corrupt(Corrupt {
                word: "head",
                value: head,
            }));
        }
        Ok(Self {
            ring,
            head,
            peeked: head,
            corrupt: None,
            partition,
            records: ring.sleeper(offset_of!(RingControl, records)),
            space: ring.ringer(offset_of!(RingControl, space)),
        })
    }

    /// The ring.
    pub fn ring(&self) -> &Ring<'m> {
        &self.ring
    }

    /// Copies the next record into the front of `record`, releases it, and
    /// returns its length. Never waits, rings no bell.
    ///
    /// # Errors
    ///
    /// [`PopError::Empty`] if there is none, [`PopError::TooLong`] if it does
    /// not fit `record`, [`PopError::Corrupt`] if the producer broke the protocol.
    #[inline(always)]
    pub fn pop(&mut self, record: &mut [u8]) -> Result<usize, PopError> {
        let found = self.find(self.head)?;
        let Some(bytes) = record.get_mut(..found.len) else {
            return Err(PopError::TooLong { len: found.len });
        };
        self.ring.data.read(Ring::payload(found.position), bytes);
        self.advance(found.end());
        Ok(found.len)
    }

    /// The next record, in place; it stays the next until [`Consumer::release`].
    ///
    /// # Errors
    ///
    /// [`PopError::Empty`] or [`PopError::Corrupt`], as [`Consumer::pop`].
    #[inline(always)]
    pub fn peek(&mut self) -> Result<Record<'_>, PopError> {
        let found = self.find(self.head)?;
        self.peeked = found.end();
        Ok(self.record(found))
    }

    /// Gives the record that was peeked last back to the producer. Does nothing
    /// if none was.
    #[inline(always)]
    pub fn release(&mut self) {
        if self.peeked != self.head {
            self.advance(self.peeked);
        }
    }

    /// Hands up to `limit` records to `handle` and releases them together, by
    /// one store; the first one for which `handle` says `false` stays the next
    /// and ends it. Returns how many were released.
    ///
    /// # Errors
    ///
    /// [`PopError::Corrupt`] as [`Consumer::pop`], by a call that finds no
    /// record before it.
    pub fn drain(
        &mut self,
        limit: usize,
        mut handle: impl FnMut(Record<'_>) -> bool,
    ) -> Result<usize, PopError> {
        let mut end = self.head;
        let mut count = 0;
        let result = loop {
            // R2: an honest producer is at most a lap ahead; another one must
            // not lead us round and round.
            if count == limit || end.wrapping_sub(self.head) >= self.ring.data.len() {
                break Ok(count);
            }
            match self.find(end) {
                Ok(found) => {
                    if !handle(self.record(found)) {
                        break Ok(count);
                    }
                    end = found.end();
                    count += 1;
                }
                Err(error) if count == 0 && error != PopError::Empty => break Err(error),
                Err(_) => break Ok(count),
            }
        };
        if end != self.head {
            self.advance(end);
        }
        result
    }

    /// Whether there is no record now. A broken ring counts as one with a
    /// record, so that a waiter comes back and learns of it.
    pub fn is_empty(&mut self) -> bool {
        matches!(self.find(self.head), Err(PopError::Empty))
    }

    /// Waits until there is a record; `false` if the deadline passes first.
    pub fn wait<W: Wait>(&mut self, wait: &mut W) -> bool {
        let records = self.records;
        let found = records.wait(wait, || (!self.is_empty()).then_some(()));
        found.is_some()
    }

    /// Rings `doorbell` if the producer sleeps for space. Call it after
    /// releasing records. Returns whether it slept.
    #[inline(always)]
    pub fn notify<D: Doorbell>(&mut self, doorbell: &mut D) -> bool {
        self.space.ring(doorbell)
    }

    /// Finds the next record at or behind `head`.
    #[inline(always)]
    fn find(&mut self, head: u32) -> Result<Found, PopError> {
        if let Some(corrupt) = self.corrupt {
            return Err(PopError::Corrupt(corrupt));
        }
        match self.header(head)? {
            Header::Record(len) => Ok(Found {
                position: head,
                len,
            }),
            Header::Nothing => Err(PopError::Empty),
            Header::Padding(padding) => {
                // R5: behind padding comes the start, where there is none.
                let position = head.wrapping_add(padding);
                match self.header(position)? {
                    Header::Record(len) => Ok(Found { position, len }),
                    _ => Err(PopError::Empty),
                }
            }
        }
    }

    #[inline(always)]
    fn header(&mut self, position: u32) -> Result<Header, PopError> {
        // Pairs with the store in `Producer::expose`: payload and next header are whole.
        let word = self.ring.data.word(position).load(Acquire); // loom: loom_ring
        Header::decode(word, &self.ring, position).map_err(|corrupt| {
            self.corrupt = Some(corrupt);
            PopError::Corrupt(corrupt)
        })
    }

    #[inline(always)]
    fn record(&self, found: Found) -> Record<'_> {
        Record {
            payload: self
                .ring
                .data
                .window(Ring::payload(found.position), found.len),
            len: found.len,
        }
    }

    #[inline(always)]
    fn advance(&mut self, end: u32) {
        self.head = end;
        self.peeked = end;
        // Pairs with the load in `Producer::refresh`: we have finished reading
        // what the producer may now overwrite.
        self.ring.head().store(end, Release); // loom: loom_ring
    }
}

impl Drop for Consumer<'_> {
    fn drop(&mut self) {
        unclaim(self.ring.consumer_claim(), self.partition);
    }
}

impl Found {
    #[inline(always)]
    fn end(self) -> u32 {
        self.position.wrapping_add(stride(self.len))
    }
}
