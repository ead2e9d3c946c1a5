//! The end of a ring that pops.

use memoffset::offset_of;

use super::header::{stride, Header};
use super::{ClaimError, PopError, Record, Ring};
use crate::doorbell::{Doorbell, Ringer, Sleeper};
use crate::error::Corrupt;
use crate::layout::RingControl;
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::wait::Wait;

/// The end that pops. Dropping it gives the claim back.
pub struct Consumer<'m> {
    ring: Ring<'m>,
    /// Our position: the first record not released. The copy in memory is write-only.
    head: u32,
    /// Where the record that was peeked last ends; `head` if none was.
    peeked: u32,
    corrupt: Option<Corrupt>,
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
    pub(super) fn resume(ring: Ring<'m>) -> Result<Self, ClaimError> {
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
    #[inline]
    pub fn pop(&mut self, record: &mut [u8]) -> Result<usize, PopError> {
        let found = self.find(self.head)?;
        let Some(bytes) = record.get_mut(..found.len) else {
            return Err(PopError::TooLong { len: found.len });
        };
        self.ring
            .data
            .read(self.ring.payload(found.position), bytes);
        self.advance(found.end());
        Ok(found.len)
    }

    /// The next record, in place; it stays the next until [`Consumer::release`].
    ///
    /// # Errors
    ///
    /// [`PopError::Empty`] or [`PopError::Corrupt`], as [`Consumer::pop`].
    #[inline]
    pub fn peek(&mut self) -> Result<Record<'_>, PopError> {
        let found = self.find(self.head)?;
        self.peeked = found.end();
        Ok(self.record(found))
    }

    /// Gives the record that was peeked last back to the producer. Does nothing
    /// if none was.
    #[inline]
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
    /// [`PopError::Corrupt`] as [`Consumer::pop`], after the records before it.
    pub fn drain(
        &mut self,
        limit: usize,
        mut handle: impl FnMut(Record<'_>) -> bool,
    ) -> Result<usize, PopError> {
        let mut end = self.head;
        let mut count = 0;
        let result = loop {
            if count == limit {
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
                Err(PopError::Empty) => break Ok(count),
                Err(error) => break Err(error),
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
    #[inline]
    pub fn notify<D: Doorbell>(&mut self, doorbell: &mut D) -> bool {
        self.space.ring(doorbell)
    }

    /// Finds the next record at or behind `head`.
    #[inline]
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

    #[inline]
    fn header(&mut self, position: u32) -> Result<Header, PopError> {
        let offset = self.ring.offset(position);
        // Pairs with the store in `Producer::expose`: payload and next header are whole.
        let word = self.ring.data.word(offset).load(Acquire); // loom: loom_ring
        Header::decode(word, &self.ring, offset).map_err(|corrupt| {
            self.corrupt = Some(corrupt);
            PopError::Corrupt(corrupt)
        })
    }

    fn record(&self, found: Found) -> Record<'_> {
        Record {
            data: self.ring.data,
            start: self.ring.payload(found.position),
            len: found.len,
        }
    }

    #[inline]
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
        self.ring.consumer_claim().store(0, Relaxed);
    }
}

impl Found {
    #[inline]
    fn end(self) -> u32 {
        self.position.wrapping_add(stride(self.len))
    }
}
