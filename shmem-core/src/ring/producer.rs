//! The end of a ring that pushes.

use core::sync::atomic::compiler_fence;

use memoffset::offset_of;

use super::epoch;
use super::error::PushError;
use super::header::{self, stride};
use super::memory::{Ring, SMALL};
use super::resume::Start;
use crate::claim::Claim;
use crate::doorbell::{Doorbell, Ringer, Sleeper};
use crate::error::{ControlWord, Corrupt};
use crate::layout::{RingControl, RECORD_HEADER};
use crate::mem::Word;
use crate::primitive::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::wait::Wait;

/// The end that pushes. Dropping it gives the claim back.
///
/// Every call says [`PushError::Evicted`] once another has taken this end over, whether
/// this one was gone or was only thought to be (R7).
///
/// Aligned so that the two ends of a ring in one program do not share a line.
#[repr(align(128))]
pub struct Producer<'m> {
    pub(super) ring: Ring<'m>,
    /// Our position: after the last record we published.
    pub(super) tail: u32,
    /// `tail` in memory, which is write-only and lags.
    stored_tail: u32,
    /// What the consumer had given back when we last looked: at most what it has now.
    pub(super) head: u32,
    /// Free up to here and contiguous from `tail`: a record that ends no later needs no
    /// look. No further than the longest record, so that its length is checked as well.
    pub(super) room: u32,
    /// Up to here lines were fetched, or there was none to fetch.
    pub(super) fetched: u32,
    /// How many incarnations had our end, with ours.
    epoch: u32,
    /// How many had the consumer's, as we last read it from `peer_epoch`.
    peer: u32,
    /// Two words that every push touches, their bounds checked once.
    tail_word: Word<'m>,
    peer_epoch: Word<'m>,
    pub(super) claim: Claim<'m>,
    /// What is said for good.
    terminal: Option<PushError>,
    records: Ringer<'m>,
    space: Sleeper<'m>,
}

/// Where a record goes, and for whom it is.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Position of the padding in front, if there is any.
    padding: u32,
    /// Position of the header.
    pub(super) position: u32,
    /// Both epochs (R6).
    stamp: u32,
    /// [`Producer::room`] once this is published.
    pub(super) room: u32,
}

impl<'m> Producer<'m> {
    pub(super) fn new(
        ring: Ring<'m>,
        (start, peer): (Start, u32),
        claim: Claim<'m>,
        epoch: u32,
    ) -> Self {
        Self {
            ring,
            tail: start.position,
            stored_tail: start.stored.tail,
            head: start.stored.head,
            room: start.position,
            fetched: start.position,
            epoch,
            peer,
            tail_word: ring.tail(),
            peer_epoch: ring.consumer_epoch(),
            claim,
            terminal: None,
            records: ring.ringer(offset_of!(RingControl, records)),
            space: ring.sleeper(offset_of!(RingControl, space)),
        }
    }

    /// The ring.
    pub fn ring(&self) -> &Ring<'m> {
        &self.ring
    }

    /// Where the next record is published: a position that counts on modulo 2^32, by at
    /// least 8 for each record, and at which a later incarnation resumes.
    pub fn position(&self) -> u32 {
        self.tail
    }

    /// Takes note of the consumer that the next record is for, as a push does, and returns
    /// how often the consuming end was claimed; 0 if nobody has claimed it yet. From 65535
    /// it goes on with 1. A consumer that claims the end after this is noticed by the push.
    ///
    /// # Errors
    ///
    /// [`PushError::Restarted`], [`PushError::Corrupt`], [`PushError::Evicted`], as
    /// [`Producer::push`].
    #[inline(always)]
    pub fn note_consumer(&mut self) -> Result<u32, PushError> {
        // relaxed: it orders nothing; a record that a new consumer's claim
        // overtakes carries the old stamp.
        let peer = self.peer_epoch.load(Relaxed);
        if peer != self.peer || !self.claim.is_ours() {
            self.note_restart(peer)?;
        }
        Ok(self.peer)
    }

    /// Copies `record` into the ring and publishes it. Never waits, rings no bell.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`] if it does not fit now, [`PushError::TooLong`] if it
    /// never does, [`PushError::Restarted`] if the consumer was restarted,
    /// [`PushError::Corrupt`] if it broke the protocol, [`PushError::Evicted`] if
    /// this end was taken over.
    #[inline(always)]
    pub fn push(&mut self, record: &[u8]) -> Result<(), PushError> {
        if SMALL {
            return self.push_anywhere(record);
        }
        match self.place_at_tail(record.len(), self.tail, self.room) {
            Some(place) => {
                self.copy_payload(place, record);
                self.publish(place, record.len())
            }
            None => self.push_anywhere(record),
        }
    }

    /// As [`Producer::push`], where it may need a look at the consumer, or padding.
    #[inline(never)]
    fn push_anywhere(&mut self, record: &[u8]) -> Result<(), PushError> {
        let place = self.find(record.len(), self.tail, self.tail)?;
        self.copy_payload(place, record);
        self.publish(place, record.len())
    }

    /// Rings `doorbell` if the consumer sleeps. Call it after a push, a commit
    /// or a batch. Returns whether it slept.
    ///
    /// Its full fence lies between what was published and a last look at the claim:
    /// `Ok` says that every record published before is found by a successor.
    ///
    /// # Errors
    ///
    /// [`PushError::Evicted`] if this end was taken over.
    #[inline(always)]
    pub fn notify<D: Doorbell>(&mut self, doorbell: &D) -> Result<bool, PushError> {
        self.check_owned()?;
        let slept = self.records.ring(doorbell);
        self.check_owned()?;
        Ok(slept)
    }

    /// Waits until a record of `len` bytes fits; `false` if the deadline passes first.
    ///
    /// # Errors
    ///
    /// As [`Producer::push`], but for [`PushError::Full`].
    pub fn wait_for_space<W: Wait>(&mut self, len: usize, wait: &mut W) -> Result<bool, PushError> {
        let space = self.space;
        let tail = self.tail;
        let found = space.wait(wait, || match self.find(len, tail, tail) {
            Ok(_) => Some(Ok(true)),
            Err(PushError::Full) => None,
            Err(error) => Some(Err(error)),
        });
        found.unwrap_or(Ok(false))
    }

    /// The place at `tail`, if nothing there is to be looked for: it is free up to `room`,
    /// the consumer is the one we know, and the end is ours.
    #[inline(always)]
    fn place_at_tail(&self, len: usize, tail: u32, room: u32) -> Option<Place> {
        let left = room.wrapping_sub(tail);
        // relaxed: as in `note_consumer`.
        let fits = len <= left as usize
            && stride(len) <= left
            && self.peer_epoch.load(Relaxed) == self.peer
            && self.claim.is_ours();
        fits.then(|| Place {
            padding: tail,
            position: tail,
            stamp: epoch::stamp(self.epoch, self.peer),
            room,
        })
    }

    /// Finds a place at `tail` or after it; `room` is free, as for [`Producer::place_at_tail`].
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn find(&mut self, len: usize, tail: u32, room: u32) -> Result<Place, PushError> {
        if !SMALL {
            if let Some(place) = self.place_at_tail(len, tail, room) {
                return Ok(place);
            }
        }
        self.search(len, tail)
    }

    #[inline(never)]
    fn search(&mut self, len: usize, tail: u32) -> Result<Place, PushError> {
        let max = self.ring.max_record();
        if len > max {
            return Err(PushError::TooLong { max });
        }
        self.note_consumer()?;
        let to_end = self.ring.data.len() - self.ring.data.offset(tail) as u32;
        let bytes = stride(len);
        let position = if bytes <= to_end {
            tail
        } else {
            tail.wrapping_add(to_end) // R5
        };
        let end = position.wrapping_add(bytes);
        // R4: the header after it must be ours too.
        let limit = self.ring.data.len() - RECORD_HEADER as u32;
        if end.wrapping_sub(self.head) > limit {
            self.load_head()?;
            if end.wrapping_sub(self.head) > limit {
                return Err(PushError::Full);
            }
        }
        Ok(Place {
            padding: tail,
            position,
            stamp: epoch::stamp(self.epoch, self.peer),
            room: match SMALL {
                true => position,
                false => self.free_until(position, limit, stride(max)),
            },
        })
    }

    /// Up to where the bytes from `position` are free and contiguous, of `limit` that the
    /// ring holds and `longest` that a record may have.
    fn free_until(&self, position: u32, limit: u32, longest: u32) -> u32 {
        let to_end = self.ring.data.len() - self.ring.data.offset(position) as u32;
        let free = limit - position.wrapping_sub(self.head);
        position.wrapping_add(free.min(to_end).min(longest))
    }

    /// Takes note of an eviction, or of another consumer.
    #[cold]
    fn note_restart(&mut self, peer: u32) -> Result<(), PushError> {
        self.check_owned()?;
        if let Some(error) = self.terminal {
            return Err(error);
        }
        let checked = epoch::check(ControlWord::ConsumerEpoch, peer, self.peer);
        checked.map_err(|corrupt| self.fail(PushError::Corrupt(corrupt)))?;
        let known = core::mem::replace(&mut self.peer, peer);
        if known == 0 {
            return Ok(()); // E3
        }
        Err(PushError::Restarted)
    }

    /// Whether this end is ours (R7).
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn check_owned(&mut self) -> Result<(), PushError> {
        if self.claim.is_ours() {
            return Ok(());
        }
        Err(self.fail(PushError::Evicted))
    }

    /// Keeps what is said for good, and returns it.
    #[cold]
    #[inline(never)]
    fn fail(&mut self, error: PushError) -> PushError {
        if error == PushError::Evicted {
            self.claim.mark_lost();
        }
        // No room is left for any record, so that every later call asks for some.
        self.head = self.tail.wrapping_sub(self.ring.data.len());
        self.room = self.tail;
        *self.terminal.get_or_insert(error)
    }

    /// Looks at what the consumer has given back.
    #[cold]
    fn load_head(&mut self) -> Result<(), PushError> {
        if let Some(error) = self.terminal {
            return Err(error);
        }
        // Pairs with the store in `Consumer::store_head`: the consumer has
        // finished reading what we are about to overwrite.
        // loom: loom_ring
        let head = self.ring.head().load(Acquire);
        let moved = head.wrapping_sub(self.head);
        if moved > self.tail.wrapping_sub(self.head) || head % 8 != 0 {
            self.check_owned()?; // Whose `tail` it goes by is not ours then.
            return Err(self.fail(PushError::Corrupt(Corrupt {
                word: ControlWord::Head,
                value: head,
            })));
        }
        self.head = head;
        Ok(())
    }

    /// Zeroes the header at `end`, the first one that is not to be published (R4).
    #[inline(always)]
    pub(super) fn zero_next_header(&self, end: u32) {
        // relaxed: the Release of the header that publishes what lies before it publishes it.
        self.ring.data.store_pair(end, [0, 0], Relaxed);
    }

    /// Writes the header after padding, if there is any, of the record of `len` bytes at
    /// `place`, and returns the position after that record.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn write_inner_header(&self, place: Place, len: usize) -> u32 {
        let end = place.position.wrapping_add(stride(len));
        if place.padding != place.position {
            let words = [header::record(len), place.stamp];
            // relaxed: the padding before it publishes both, by Release.
            self.ring.data.store_pair(place.position, words, Relaxed);
        }
        end
    }

    /// Publishes the record of `len` bytes at `place`.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn publish(&mut self, place: Place, len: usize) -> Result<(), PushError> {
        self.check_owned()?; // Copying it took its time.
        let end = self.write_inner_header(place, len);
        self.zero_next_header(end);
        self.publish_header(place, len);
        self.advance(end, place.room)
    }

    /// Stores the words that make `place` visible: of the padding, or of the record.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn publish_header(&self, place: Place, len: usize) {
        let word = if place.padding == place.position {
            header::record(len)
        } else {
            header::padding(place.position.wrapping_sub(place.padding))
        };
        let words = [word, place.stamp];
        let data = &self.ring.data;
        // Pairs with the loads in `Consumer::find` and `header`: payload and next header are whole.
        // loom: loom_ring
        data.store_pair(place.padding, words, Release);
    }

    /// Acknowledges what was published up to `end`, after which it is free up to `room`.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn advance(&mut self, end: u32, room: u32) -> Result<(), PushError> {
        // The look stays after the header's store where this program is stopped between
        // the two. Where it runs on meanwhile, see R8.
        // loom: none (a fence of the compiler's alone)
        compiler_fence(SeqCst);
        self.check_owned()?;
        let start = core::mem::replace(&mut self.tail, end);
        if !SMALL {
            self.room = room;
        }
        // It lags by an eighth at the most: one store less for each record.
        if SMALL || end.wrapping_sub(self.stored_tail) >= self.ring.data.len() / 8 {
            self.store_tail();
        }
        self.fetch_after(start, end);
        Ok(())
    }

    /// For recovery and inspection, which walk on from here.
    #[inline(always)]
    fn store_tail(&mut self) {
        self.stored_tail = self.tail;
        // Pairs with the load in `Positions::load`: the header there is zero.
        // loom: loom_ring
        self.tail_word.store(self.tail, Release);
    }

    /// Stores `tail`, if it lags.
    pub(super) fn sync_tail(&mut self) {
        // Where it is small only at the claim, which was looked at just now.
        if self.stored_tail != self.tail && (SMALL || self.claim.is_ours()) {
            self.store_tail();
        }
    }
}

impl Drop for Producer<'_> {
    fn drop(&mut self) {
        if !SMALL {
            self.sync_tail();
        }
        self.claim.release();
    }
}
