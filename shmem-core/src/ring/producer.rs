//! The end of a ring that pushes.

use memoffset::offset_of;

use super::header::{self, stride, Header};
use super::{ClaimError, PushError, Ring};
use crate::doorbell::{Doorbell, Ringer, Sleeper};
use crate::error::Corrupt;
use crate::layout::{RingControl, RECORD_HEADER};
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::wait::Wait;

/// How far ahead of `tail` a line is asked for, bytes (`benches/`, group `one_way`).
const AHEAD: usize = 384;

/// The end that pushes. Dropping it gives the claim back.
pub struct Producer<'m> {
    ring: Ring<'m>,
    /// Our position: behind the last record we published. The copy in memory
    /// is write-only.
    tail: u32,
    /// The consumer's position as we last read it: at most what it is now.
    head: u32,
    corrupt: Option<Corrupt>,
    records: Ringer<'m>,
    space: Sleeper<'m>,
}

/// Where a record goes.
#[derive(Clone, Copy)]
struct Place {
    /// Position of the padding in front, if there is any.
    padding: u32,
    /// Position of the header.
    position: u32,
}

impl<'m> Producer<'m> {
    /// Finds the end of what an earlier producer published: `tail` in memory
    /// may be behind the headers by what was being published when it died.
    pub(super) fn resume(ring: Ring<'m>) -> Result<Self, ClaimError> {
        // Relaxed: stored by an earlier life of this end, which is over.
        let mut tail = ring.tail().load(Relaxed);
        // Pairs with the store in `Consumer::advance`, as in `refresh`.
        let head = ring.head().load(Acquire); // loom: loom_ring
        let corrupt = |word, value| ClaimError::Corrupt(Corrupt { word, value });
        let ahead = head.wrapping_sub(tail);
        if ahead <= ring.capacity {
            // The last record was published and consumed, and `tail` not stored.
            tail = head;
        } else if tail.wrapping_sub(head) > ring.capacity {
            return Err(corrupt("tail", tail));
        }
        if tail % 8 != 0 || head % 8 != 0 {
            return Err(corrupt("head", head));
        }
        // Bounded: each step is at least 8 bytes, and R2 ends the walk.
        while tail.wrapping_sub(head) < ring.capacity {
            let offset = ring.offset(tail);
            // Relaxed: the payload behind it is the consumer's, not ours.
            let word = ring.data.word(offset).load(Relaxed);
            let step = match Header::decode(word, &ring, offset).map_err(ClaimError::Corrupt)? {
                Header::Nothing => break,
                Header::Record(len) => stride(len),
                Header::Padding(len) => len,
            };
            tail = tail.wrapping_add(step);
        }
        if tail.wrapping_sub(head) > ring.capacity - RECORD_HEADER as u32 {
            return Err(corrupt("tail", tail));
        }
        ring.tail().store(tail, Relaxed);
        Ok(Self {
            ring,
            tail,
            head,
            corrupt: None,
            records: ring.ringer(offset_of!(RingControl, records)),
            space: ring.sleeper(offset_of!(RingControl, space)),
        })
    }

    /// The ring.
    pub fn ring(&self) -> &Ring<'m> {
        &self.ring
    }

    /// Copies `record` into the ring and publishes it. Never waits, rings no bell.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`] if it does not fit now, [`PushError::TooLong`] if it
    /// never does, [`PushError::Corrupt`] if the consumer broke the protocol.
    #[inline]
    pub fn push(&mut self, record: &[u8]) -> Result<(), PushError> {
        let place = self.find(record.len(), self.tail)?;
        self.fill(place, record);
        self.publish(place, record.len());
        Ok(())
    }

    /// Reserves room for a record of up to `len` bytes, to be written in place.
    ///
    /// # Errors
    ///
    /// As [`Producer::push`].
    pub fn reserve(&mut self, len: usize) -> Result<Reservation<'_, 'm>, PushError> {
        let place = self.find(len, self.tail)?;
        Ok(Reservation {
            producer: self,
            place,
            len,
        })
    }

    /// Starts a batch: records that become visible together, by one store.
    pub fn batch(&mut self) -> Batch<'_, 'm> {
        let end = self.tail;
        Batch {
            producer: self,
            first: None,
            end,
        }
    }

    /// Rings `doorbell` if the consumer sleeps. Call it after a push, a commit
    /// or a batch. Returns whether it slept.
    #[inline]
    pub fn notify<D: Doorbell>(&mut self, doorbell: &mut D) -> bool {
        self.records.ring(doorbell)
    }

    /// Waits until a record of `len` bytes fits; `false` if the deadline passes first.
    ///
    /// # Errors
    ///
    /// [`PushError::TooLong`] or [`PushError::Corrupt`], as [`Producer::push`].
    pub fn wait_for_space<W: Wait>(&mut self, len: usize, wait: &mut W) -> Result<bool, PushError> {
        let space = self.space;
        let tail = self.tail;
        let found = space.wait(wait, || match self.find(len, tail) {
            Ok(_) => Some(Ok(true)),
            Err(PushError::Full) => None,
            Err(error) => Some(Err(error)),
        });
        found.unwrap_or(Ok(false))
    }

    /// Finds room behind `tail`.
    #[inline]
    fn find(&mut self, len: usize, tail: u32) -> Result<Place, PushError> {
        let max = self.ring.max_record();
        if len > max {
            return Err(PushError::TooLong { len, max });
        }
        let offset = self.ring.offset(tail);
        let to_end = (self.ring.capacity() - offset) as u32;
        let stride = stride(len);
        let position = if stride <= to_end {
            tail
        } else {
            tail.wrapping_add(to_end) // R5
        };
        let end = position.wrapping_add(stride);
        // R4: the header behind must be ours too.
        let limit = self.ring.capacity - RECORD_HEADER as u32;
        if end.wrapping_sub(self.head) > limit {
            self.refresh()?;
            if end.wrapping_sub(self.head) > limit {
                return Err(PushError::Full);
            }
        }
        Ok(Place {
            padding: tail,
            position,
        })
    }

    /// Reads the consumer's position.
    #[cold]
    fn refresh(&mut self) -> Result<(), PushError> {
        if let Some(corrupt) = self.corrupt {
            return Err(PushError::Corrupt(corrupt));
        }
        // Pairs with the store in `Consumer::advance`: the consumer has
        // finished reading what we are about to overwrite.
        let head = self.ring.head().load(Acquire); // loom: loom_ring
        let moved = head.wrapping_sub(self.head);
        if moved > self.tail.wrapping_sub(self.head) || head % 8 != 0 {
            let corrupt = Corrupt {
                word: "head",
                value: head,
            };
            self.corrupt = Some(corrupt);
            // No room is left for any record, so that every later call comes here.
            self.head = self.tail.wrapping_sub(self.ring.capacity);
            return Err(PushError::Corrupt(corrupt));
        }
        self.head = head;
        Ok(())
    }

    #[inline]
    fn fill(&self, place: Place, record: &[u8]) {
        let start = self.ring.payload(place.position);
        self.ring.data.write(start, record);
    }

    /// Zeroes the header behind a record of `len` bytes at `place`, writes the
    /// header behind padding, and returns the position behind the record.
    #[inline]
    fn seal(&self, place: Place, len: usize) -> u32 {
        let end = place.position.wrapping_add(stride(len));
        let next = self.ring.offset(end);
        // R4. Relaxed: ordered by the store of the header in front of it.
        self.ring.data.word(next).store(0, Relaxed);
        if place.padding != place.position {
            let word = self.ring.data.word(self.ring.offset(place.position));
            // Relaxed: the padding in front of it publishes both.
            word.store(header::record(len), Relaxed);
        }
        end
    }

    /// Publishes the record of `len` bytes at `place`.
    #[inline]
    fn publish(&mut self, place: Place, len: usize) {
        let end = self.seal(place, len);
        self.expose(place, len);
        self.advance(end);
    }

    /// Stores the word that makes `place` visible: of the padding, or of the record.
    #[inline]
    fn expose(&self, place: Place, len: usize) {
        let word = if place.padding == place.position {
            header::record(len)
        } else {
            header::padding(place.position.wrapping_sub(place.padding))
        };
        let at = self.ring.data.word(self.ring.offset(place.padding));
        // Pairs with the load in `Consumer::peek`: payload and next header are whole.
        at.store(word, Release); // loom: loom_ring
    }

    #[inline]
    fn advance(&mut self, end: u32) {
        self.tail = end;
        // Relaxed: for recovery and inspection, which walk on from here.
        self.ring.tail().store(end, Relaxed);
        let ahead = self.ring.offset(end.wrapping_add(AHEAD as u32));
        self.ring.data.prefetch_write(ahead);
    }
}

impl Drop for Producer<'_> {
    fn drop(&mut self) {
        self.ring.producer_claim().store(0, Relaxed);
    }
}

/// Room for one record, ours until it is committed; dropped, it was never there.
#[must_use]
pub struct Reservation<'p, 'm> {
    producer: &'p mut Producer<'m>,
    place: Place,
    len: usize,
}

impl Reservation<'_, '_> {
    /// Bytes reserved.
    #[allow(clippy::len_without_is_empty)] // A length asked for, not a collection.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Copies `bytes` to `offset` in the record.
    ///
    /// # Panics
    ///
    /// If they do not fit into what was reserved.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let inside = offset <= self.len && bytes.len() <= self.len - offset;
        assert!(inside, "a write outside the reservation");
        let ring = &self.producer.ring;
        let start = ring.payload(self.place.position);
        ring.data.write(start + offset, bytes);
    }

    /// Address of the record's first byte, for peers that trust each other and
    /// build a record in place.
    ///
    /// Until `commit`, [`Reservation::len`] bytes from there are this
    /// producer's alone, if the consumer is honest.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        let ring = &self.producer.ring;
        let start = ring.payload(self.place.position);
        ring.data.address().as_ptr().wrapping_add(start)
    }

    /// Publishes the first `len` bytes as a record.
    ///
    /// # Panics
    ///
    /// If `len` is more than was reserved.
    pub fn commit(self, len: usize) {
        assert!(len <= self.len, "a commit longer than the reservation");
        self.producer.publish(self.place, len);
    }
}

/// Records that become visible together. Dropped, none of them was ever there.
#[must_use]
pub struct Batch<'p, 'm> {
    producer: &'p mut Producer<'m>,
    /// The record whose word publishes all, and its length.
    first: Option<(Place, usize)>,
    /// Position behind the last record.
    end: u32,
}

impl Batch<'_, '_> {
    /// Copies `record` behind the others; not visible yet.
    ///
    /// # Errors
    ///
    /// As [`Producer::push`]; what is in the batch stays.
    pub fn push(&mut self, record: &[u8]) -> Result<(), PushError> {
        let place = self.producer.find(record.len(), self.end)?;
        self.producer.fill(place, record);
        self.end = self.producer.seal(place, record.len());
        if self.first.is_none() {
            self.first = Some((place, record.len()));
        } else {
            // Release is more than it needs: the first word publishes all.
            self.producer.expose(place, record.len());
        }
        Ok(())
    }

    /// Makes all of it visible.
    pub fn publish(self) {
        if let Some((place, len)) = self.first {
            self.producer.expose(place, len);
            self.producer.advance(self.end);
        }
    }
}
