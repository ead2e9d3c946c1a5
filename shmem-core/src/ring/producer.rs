//! The end of a ring that pushes.

use core::sync::atomic::compiler_fence;

use memoffset::offset_of;

use super::epoch::{self, Acquired};
use super::error::PushError;
use super::header::{self, stride};
use super::memory::{Ring, SMALL};
use crate::claim::Claim;
use crate::doorbell::{Doorbell, Ringer, Sleeper};
use crate::error::{ControlWord, Corrupt};
use crate::layout::{RingControl, RECORD_HEADER};
use crate::primitive::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::wait::Wait;

/// The end that pushes. Dropping it releases the claim.
///
/// After another incarnation takes over this end, every call returns [`PushError::Evicted`]
/// (R7), even if this incarnation was not gone.
///
/// Aligned so that the two ends of a ring in one program do not share a line.
#[repr(align(128))]
pub struct Producer<'m> {
    pub(super) ring: Ring<'m>,
    /// Our position: after the last record we published.
    pub(super) tail: u32,
    /// The last `tail` that we stored to memory; `tail` may be ahead of it. This end never loads
    /// it.
    stored_tail: u32,
    /// The last `head` that we loaded: the consumer may have released more since.
    pub(super) head: u32,
    /// The bytes from `tail` to here are free and contiguous: a record that ends there or
    /// before needs no load of `head`. At most the longest record, so that the length of a
    /// record is checked too.
    pub(super) room: u32,
    /// Up to here lines were fetched, or there was no line to fetch.
    pub(super) fetched: u32,
    /// The epoch of our end.
    epoch: u32,
    /// The consumer's epoch, as last loaded from `peer_epoch`.
    peer: u32,
    pub(super) claim: Claim<'m>,
    /// The error that every later call returns.
    terminal: Option<PushError>,
    records: Ringer<'m>,
    space: Sleeper<'m>,
}

/// Where a record goes, and its stamp. Aligned, so that it is copied by words of eight bytes.
#[derive(Clone, Copy, Default)]
#[repr(align(8))]
pub(super) struct Place {
    /// Position of the padding before the record; equal to `position` if there is none.
    padding: u32,
    /// Position of the header.
    pub(super) position: u32,
    /// Both epochs (R6).
    stamp: u32,
    /// [`Producer::room`] once this is published.
    pub(super) room: u32,
}

impl<'m> Producer<'m> {
    #[inline(always)]
    pub(super) fn new(ring: Ring<'m>, acquired: Acquired<'m>) -> Self {
        let Acquired {
            start,
            peer,
            claim,
            epoch,
        } = acquired;
        Self {
            ring,
            tail: start.position,
            stored_tail: start.stored.tail,
            head: start.stored.head,
            room: start.position,
            fetched: start.position,
            epoch,
            peer,
            claim,
            terminal: None,
            records: Ringer::new(ring.control.part(offset_of!(RingControl, records))),
            space: Sleeper::new(ring.control.part(offset_of!(RingControl, space))),
        }
    }

    /// Limits the lag of `tail` to that of one incarnation, even if several die.
    pub(super) fn begin(&mut self) {
        self.sync_tail();
    }

    /// Returns the ring.
    pub fn ring(&self) -> &Ring<'m> {
        &self.ring
    }

    /// Returns the position of the next record, modulo 2^32. Each record advances it by at
    /// least 8. A later incarnation resumes there.
    pub fn position(&self) -> u32 {
        self.tail
    }

    /// Checks for a restart of the consumer, as a push does, and returns the epoch of the consuming
    /// end; 0 if it was never claimed. If another consumer claims the end after this call, the
    /// next push reports it.
    ///
    /// # Errors
    ///
    /// [`PushError::Restarted`], [`PushError::Corrupt`], [`PushError::Evicted`], as
    /// [`Producer::push`].
    #[inline(always)]
    pub fn note_consumer(&mut self) -> Result<u32, PushError> {
        // relaxed: it orders nothing; if a new consumer claims the end meanwhile, the record
        // carries the old stamp.
        let peer = self.ring.consumer_epoch().load(Relaxed);
        if peer != self.peer || !self.claim.is_ours() {
            self.note_restart(peer)?;
        }
        Ok(self.peer)
    }

    /// Copies `record` into the ring and publishes it. Never waits, never rings the doorbell.
    ///
    /// # Errors
    ///
    /// - [`PushError::Full`] if the record does not fit now.
    /// - [`PushError::TooLong`] if it can never fit.
    /// - [`PushError::Restarted`] once, if the consumer was restarted.
    /// - [`PushError::Corrupt`] if the consumer broke the protocol.
    /// - [`PushError::Evicted`] if this end was taken over.
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

    /// As [`Producer::push`], also if it needs padding or a load of the consumer's words.
    #[inline(never)]
    fn push_anywhere(&mut self, record: &[u8]) -> Result<(), PushError> {
        let place = self.find(record.len(), self.tail, self.tail)?;
        self.copy_payload(place, record);
        self.publish(place, record.len())
    }

    /// Rings `doorbell` if the consumer sleeps. Call it after a push, a commit
    /// or a batch. Returns true if the consumer slept.
    ///
    /// This call executes a full fence after the publication, and checks the claim after the fence.
    /// After `Ok`, a successor finds every record that was published before.
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
    /// As [`Producer::push`], except [`PushError::Full`].
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

    /// Returns the place at `tail` if `len` bytes fit before `room`, the consumer was not
    /// restarted, and the end is ours.
    #[inline(always)]
    fn place_at_tail(&self, len: usize, tail: u32, room: u32) -> Option<Place> {
        let left = room.wrapping_sub(tail);
        // relaxed: as in `note_consumer`.
        let fits = len <= left as usize
            && stride(len) <= left
            && self.ring.consumer_epoch().load(Relaxed) == self.peer
            && self.claim.is_ours();
        fits.then(|| Place {
            padding: tail,
            position: tail,
            stamp: epoch::stamp(self.epoch, self.peer),
            room,
        })
    }

    /// Finds a place at or after `tail`; the bytes up to `room` are free.
    #[inline(always)]
    pub(super) fn find(&mut self, len: usize, tail: u32, room: u32) -> Result<Place, PushError> {
        if !SMALL {
            if let Some(place) = self.place_at_tail(len, tail, room) {
                return Ok(place);
            }
        }
        let mut place = Place::default();
        self.search(len, tail, &mut place)?;
        Ok(place)
    }

    /// As [`Producer::find`], for a record that does not fit before `room`; sets `place`.
    #[inline(never)]
    fn search(&mut self, len: usize, tail: u32, place: &mut Place) -> Result<(), PushError> {
        let max = self.ring.max_record();
        if len > max {
            let max = max as u32; // At most half of 2^30.
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
        // R4: the header after the record must be ours too.
        let limit = self.ring.data.len() - RECORD_HEADER as u32;
        if end.wrapping_sub(self.head) > limit {
            self.load_head()?;
            if end.wrapping_sub(self.head) > limit {
                return Err(PushError::Full);
            }
        }
        *place = Place {
            padding: tail,
            position,
            stamp: epoch::stamp(self.epoch, self.peer),
            room: match SMALL {
                true => position,
                false => self.free_until(position, limit, stride(max)),
            },
        };
        Ok(())
    }

    /// Returns the position up to which the bytes from `position` are free and contiguous. The
    /// ring holds `limit` bytes; the result is at most `longest` after `position`.
    fn free_until(&self, position: u32, limit: u32, longest: u32) -> u32 {
        let to_end = self.ring.data.len() - self.ring.data.offset(position) as u32;
        let free = limit - position.wrapping_sub(self.head);
        position.wrapping_add(free.min(to_end).min(longest))
    }

    /// Records an eviction or a restart of the consumer, whose epoch is `peer`.
    #[cold]
    fn note_restart(&mut self, peer: u32) -> Result<(), PushError> {
        self.check_owned()?;
        if let Some(error) = self.terminal {
            return Err(error);
        }
        if !epoch::is_valid(peer, self.peer) {
            return Err(self.fail(PushError::Corrupt(Corrupt {
                word: ControlWord::ConsumerEpoch,
                value: peer,
            })));
        }
        let known = core::mem::replace(&mut self.peer, peer);
        if known == 0 {
            return Ok(()); // E3
        }
        Err(PushError::Restarted)
    }

    /// Returns [`PushError::Evicted`] if this end is no longer ours (R7).
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn check_owned(&mut self) -> Result<(), PushError> {
        if self.claim.is_ours() {
            return Ok(());
        }
        Err(self.fail(PushError::Evicted))
    }

    /// Stores the error that every later call returns, and returns it.
    #[cold]
    #[inline(never)]
    fn fail(&mut self, error: PushError) -> PushError {
        if error == PushError::Evicted {
            self.claim.mark_lost();
        }
        // Leave no room, so that every later call loads `head` and finds this error.
        self.head = self.tail.wrapping_sub(self.ring.data.len());
        self.room = self.tail;
        *self.terminal.get_or_insert(error)
    }

    /// Loads `head` and checks it.
    #[cold]
    #[cfg_attr(feature = "small", inline(always))]
    fn load_head(&mut self) -> Result<(), PushError> {
        if let Some(error) = self.terminal {
            return Err(error);
        }
        // Pairs with the store in `Consumer::store_head`: the consumer has
        // finished reading the bytes that we are about to overwrite.
        // loom: loom_ring
        let head = self.ring.head().load(Acquire);
        let moved = head.wrapping_sub(self.head);
        if moved > self.tail.wrapping_sub(self.head) || head % 8 != 0 {
            self.check_owned()?; // If evicted, `head` belongs to a successor's `tail`.
            return Err(self.fail(PushError::Corrupt(Corrupt {
                word: ControlWord::Head,
                value: head,
            })));
        }
        self.head = head;
        Ok(())
    }

    /// Zeroes the header at `end`, after the last record to be published (R4).
    #[inline(always)]
    pub(super) fn zero_next_header(&self, end: u32) {
        // relaxed: the Release store of the header before it publishes it.
        self.ring.data.store_pair(end, [0, 0], Relaxed);
    }

    /// Writes the header of the record of `len` bytes at `place` if there is padding before it.
    /// Returns the position after that record.
    #[cfg_attr(not(feature = "small"), inline(always))]
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
        self.check_owned()?; // Again, because the copy may have taken long.
        let end = self.write_inner_header(place, len);
        self.zero_next_header(end);
        self.publish_header(place, len);
        self.advance(end, place.room)
    }

    /// Stores the header that makes `place` visible: that of the padding, or of the record.
    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(super) fn publish_header(&self, place: Place, len: usize) {
        let word = if place.padding == place.position {
            header::record(len)
        } else {
            header::padding(place.position.wrapping_sub(place.padding))
        };
        let words = [word, place.stamp];
        let data = &self.ring.data;
        // Pairs with the loads in `Consumer::find` and `header`: payload and next header are
        // whole.
        // loom: loom_ring
        data.store_pair(place.padding, words, Release);
    }

    /// Moves our position to `end`; the bytes from there to `room` are free.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn advance(&mut self, end: u32, room: u32) -> Result<(), PushError> {
        // Keeps the check after the store of the header, for a program that is stopped between
        // the two. For one that runs meanwhile, see R8.
        // loom: none (a fence of the compiler's alone)
        compiler_fence(SeqCst);
        self.check_owned()?;
        let start = core::mem::replace(&mut self.tail, end);
        if !SMALL {
            self.room = room;
        }
        // `tail` lags by at most an eighth of the ring, which saves a store for each record.
        if SMALL || end.wrapping_sub(self.stored_tail) >= self.ring.data.len() / 8 {
            self.store_tail();
        }
        self.fetch_after(start, end);
        Ok(())
    }

    /// Stores `tail`. Recovery and inspection walk the headers from there.
    #[inline(always)]
    fn store_tail(&mut self) {
        self.stored_tail = self.tail;
        // Pairs with the load in `Positions::load`: the header there is zero.
        // loom: loom_ring
        self.ring.tail().store(self.tail, Release);
    }

    /// Stores `tail`, if it lags.
    pub(super) fn sync_tail(&mut self) {
        // With the feature `small` only when the end is claimed: the claim was checked just now.
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
