//! The end of a ring that pushes.

use memoffset::offset_of;

use super::header::{self, stride, Header};
use super::{epoch, ClaimError, PushError, Ring};
use crate::doorbell::{Doorbell, Ringer, Sleeper};
use crate::error::{ControlWord, Corrupt};
use crate::layout::{RingControl, RECORD_HEADER};
use crate::life::Life;
use crate::mem::{Window, Word};
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::wait::Wait;

/// How far ahead of `tail` a line is asked for, bytes (`benches/`, group `one_way`).
const AHEAD: u32 = 1024;

/// The end that pushes. Dropping it gives the claim back.
///
/// Aligned so that the two ends of a ring in one program do not share a line.
#[repr(align(128))]
pub struct Producer<'m> {
    ring: Ring<'m>,
    /// Our position: behind the last record we published. The copy in memory
    /// is write-only.
    tail: u32,
    /// The consumer's position as we last read it: at most what it is now.
    head: u32,
    /// How many lives had our end, with ours.
    epoch: u32,
    /// How many had the consumer's, as we last read it from `peer_epoch`.
    peer: u32,
    /// Two words that every push touches, their bounds checked once.
    tail_word: Word<'m>,
    peer_epoch: Word<'m>,
    corrupt: Option<Corrupt>,
    life: Life,
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

/// Where a producer goes on.
pub(super) struct Position {
    tail: u32,
    head: u32,
}

/// Finds the end of what an earlier producer published: `tail` in memory may be
/// behind the headers.
pub(super) fn resume(ring: &Ring<'_>) -> Result<Position, ClaimError> {
    // Pairs with the store in `advance`: the header there is zero or a record's.
    let mut tail = ring.tail().load(Acquire); // loom: loom_ring
                                              // Pairs with the store in `Consumer::advance`, as in `refresh`.
    let head = ring.head().load(Acquire); // loom: loom_ring
    let corrupt = |word, value| ClaimError::Corrupt(Corrupt { word, value });
    // Positions differ by much less than half of their range.
    if head.wrapping_sub(tail) as i32 > 0 {
        // What was published last is consumed, and `tail` lags behind.
        tail = head;
    }
    if tail.wrapping_sub(head) > ring.data.len() || tail % 8 != 0 {
        return Err(corrupt(ControlWord::Tail, tail));
    }
    // Bounded: each step is at least 8 bytes, and R2 ends the walk.
    while tail.wrapping_sub(head) < ring.data.len() {
        // Relaxed: the payload behind it is the consumer's, not ours.
        let word = ring.data.word(tail).load(Relaxed);
        let step = match Header::decode(word, ring, tail).map_err(ClaimError::Corrupt)? {
            Header::Nothing => break,
            Header::Record(len) => stride(len),
            Header::Padding(len) => len,
        };
        tail = tail.wrapping_add(step);
    }
    if tail.wrapping_sub(head) > ring.data.len() - RECORD_HEADER as u32 {
        return Err(corrupt(ControlWord::Tail, tail));
    }
    Ok(Position { tail, head })
}

impl<'m> Producer<'m> {
    pub(super) fn new(ring: Ring<'m>, life: Life, position: Position, epoch: u32) -> Self {
        Self {
            ring,
            tail: position.tail,
            head: position.head,
            epoch,
            // Relaxed: it only says which consumer we know.
            peer: ring.consumer_epoch().load(Relaxed),
            tail_word: ring.tail(),
            peer_epoch: ring.consumer_epoch(),
            corrupt: None,
            life,
            records: ring.ringer(offset_of!(RingControl, records)),
            space: ring.sleeper(offset_of!(RingControl, space)),
        }
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
    /// never does, [`PushError::Restarted`] if the consumer was restarted,
    /// [`PushError::Corrupt`] if it broke the protocol.
    #[inline(always)]
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
    #[inline(always)]
    pub fn notify<D: Doorbell>(&mut self, doorbell: &D) -> bool {
        self.records.ring(doorbell)
    }

    /// Waits until a record of `len` bytes fits; `false` if the deadline passes first.
    ///
    /// # Errors
    ///
    /// As [`Producer::push`], but for [`PushError::Full`].
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
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    fn find(&mut self, len: usize, tail: u32) -> Result<Place, PushError> {
        let max = self.ring.max_record();
        if len > max {
            return Err(PushError::TooLong { len, max });
        }
        // Relaxed: it orders nothing; a record that a new consumer's claim
        // overtakes carries the old stamp.
        let peer = self.peer_epoch.load(Relaxed);
        if peer != self.peer {
            self.meet(peer)?;
        }
        let to_end = self.ring.data.len() - self.ring.data.offset(tail) as u32;
        let stride = stride(len);
        let position = if stride <= to_end {
            tail
        } else {
            tail.wrapping_add(to_end) // R5
        };
        let end = position.wrapping_add(stride);
        // R4: the header behind must be ours too.
        let limit = self.ring.data.len() - RECORD_HEADER as u32;
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

    /// Takes note of another life of the consumer.
    #[cold]
    fn meet(&mut self, peer: u32) -> Result<(), PushError> {
        let known = core::mem::replace(&mut self.peer, peer);
        if known == 0 {
            return Ok(()); // E3
        }
        Err(PushError::Restarted)
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
                word: ControlWord::Head,
                value: head,
            };
            self.corrupt = Some(corrupt);
            // No room is left for any record, so that every later call comes here.
            self.head = self.tail.wrapping_sub(self.ring.data.len());
            return Err(PushError::Corrupt(corrupt));
        }
        self.head = head;
        Ok(())
    }

    #[inline(always)]
    fn fill(&self, place: Place, record: &[u8]) {
        self.ring.data.write(Ring::payload(place.position), record);
    }

    /// Stamps the record of `len` bytes at `place`, zeroes the header behind it,
    /// writes the header behind padding, and returns the position behind the record.
    #[inline(always)]
    fn seal(&self, place: Place, len: usize) -> u32 {
        let end = place.position.wrapping_add(stride(len));
        // R6, R4. Relaxed: ordered by the store of the header in front.
        let stamp = epoch::stamp(self.epoch, self.peer);
        self.ring.stamp(place.position).store(stamp, Relaxed);
        self.ring.data.word(end).store(0, Relaxed);
        if place.padding != place.position {
            let word = self.ring.data.word(place.position);
            // Relaxed: the padding in front of it publishes both.
            word.store(header::record(len), Relaxed);
        }
        end
    }

    /// Publishes the record of `len` bytes at `place`.
    #[inline(always)]
    fn publish(&mut self, place: Place, len: usize) {
        let end = self.seal(place, len);
        self.expose(place, len);
        self.advance(end);
    }

    /// Stores the word that makes `place` visible: of the padding, or of the record.
    #[inline(always)]
    fn expose(&self, place: Place, len: usize) {
        let word = if place.padding == place.position {
            header::record(len)
        } else {
            header::padding(place.position.wrapping_sub(place.padding))
        };
        let at = self.ring.data.word(place.padding);
        // Pairs with the load in `Consumer::header`: payload and next header are whole.
        at.store(word, Release); // loom: loom_ring
    }

    #[inline(always)]
    fn advance(&mut self, end: u32) {
        self.tail = end;
        // For recovery and inspection, which walk on from here. Pairs with the
        // load in `resume`: the header at `end` is zero.
        self.tail_word.store(end, Release); // loom: loom_ring
        self.ring.data.prefetch_write(end.wrapping_add(AHEAD));
    }
}

impl Drop for Producer<'_> {
    fn drop(&mut self) {
        epoch::give_back(self.ring.producer_claim(), self.life);
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
        self.payload().write(offset, bytes);
    }

    /// Address of the record's first byte, for peers that trust each other and
    /// build a record in place.
    ///
    /// Until `commit`, [`Reservation::len`] bytes from there are this
    /// producer's alone, if the consumer is honest.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.payload().address().as_ptr()
    }

    fn payload(&self) -> Window<'_> {
        let position = Ring::payload(self.place.position);
        self.producer.ring.data.window(position, self.len)
    }

    /// Publishes the first `len` bytes as a record.
    ///
    /// # Panics
    ///
    /// If `len` is more than was reserved.
    pub fn commit(self, len: usize) {
        assert!(len <= self.len, "a commit longer than the reservation");
        self.payload().clean();
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
    /// As [`Producer::push`]; what is in the batch stays, after
    /// [`PushError::Restarted`] still for the consumer's earlier life.
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
