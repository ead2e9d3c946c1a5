//! The end of a typed ring that pops.

use core::sync::atomic::compiler_fence;

use bytemuck::{AnyBitPattern, NoUninit};

use super::error::PopError;
use super::memory::{TypedRing, SMALL};
use super::stamp::{distance, next, EpochWords, OwnWord, Stamp, NOT_LOADED};
use crate::claim::{Claim, OnRestart};
use crate::doorbell::{Doorbell, Ringer, Sleeper};
use crate::error::Corrupt;
use crate::mem::{Slots, Word};
use crate::pace::Pace;
use crate::primitive::Ordering::{Relaxed, SeqCst};
use crate::wait::Wait;

/// The end that pops. Dropping it gives the claim back.
///
/// Every call says [`PopError::Evicted`] once another has taken this end over, whether
/// this one was gone or was only thought to be (P6).
///
/// Aligned so that the two ends of a ring in one program do not share a line.
#[repr(align(128))]
pub struct TypedConsumer<'m, T> {
    slots: Slots<'m, T>,
    pub(super) ring: TypedRing<'m, T>,
    /// Our position: the first record not released.
    pub(super) head: u32,
    /// Up to here records are known to be published, and to be handed out.
    pub(super) end: u32,
    /// Where the record that was peeked last ends; `head` if none was.
    peeked: u32,
    pub(super) pace: Pace,
    /// The epoch of the producer whose records we read; 0 if there was none.
    pub(super) peer: u32,
    /// Whether its restart is still to be reported.
    pub(super) restarted: bool,
    /// Whether what it sends may be for another consumer, and is to be discarded then.
    pub(super) filters: bool,
    pub(super) on_restart: OnRestart,
    discarded: u32,
    /// Our words.
    position: OwnWord<'m>,
    released: OwnWord<'m>,
    start: OwnWord<'m>,
    /// The producer's words: of the one we know, and of the next one.
    pub(super) tail_word: Word<'m>,
    pub(super) next_start: Word<'m>,
    /// What `next_start` holds while nobody has claimed the end after the producer we know.
    pub(super) next_seen: u32,
    claim: Claim<'m>,
    /// What is said for good.
    pub(super) terminal: Option<PopError>,
    records: Sleeper<'m>,
    space: Ringer<'m>,
}

impl<'m, T> TypedConsumer<'m, T> {
    /// The end that begins at `start`, the first of our epoch's words, which is there.
    pub(super) fn new(
        ring: TypedRing<'m, T>,
        claim: Claim<'m>,
        start: OwnWord<'m>,
        position: u32,
        on_restart: OnRestart,
    ) -> Self {
        let epoch = start.stamp.epoch();
        Self {
            slots: ring.slots,
            ring,
            head: position,
            end: position,
            peeked: position,
            pace: Pace::new(position.wrapping_mul(Slots::<T>::STRIDE as u32)),
            peer: 0,
            restarted: false,
            filters: false,
            on_restart,
            discarded: 0,
            position: OwnWord::new(ring.control.positions(), epoch, position),
            released: OwnWord::new(ring.control.heads(), epoch, position),
            start,
            tail_word: ring.control.tails().word(0),
            next_start: ring.control.producer_starts().word(next(0)),
            next_seen: NOT_LOADED,
            claim,
            terminal: None,
            records: ring.control.records().1,
            space: ring.control.space().0,
        }
    }

    /// Goes on with the count of the consumer with epoch `reader`.
    pub(super) fn resume_discarded(&mut self, reader: u32) {
        // relaxed: stored before its position was, which was loaded with Acquire.
        self.discarded = self.ring.control.discarded().word(reader).load(Relaxed);
    }

    /// Takes the words of our epoch into use, for records of the producer with epoch `peer`.
    pub(super) fn publish_words(&mut self, peer: u32) {
        self.store_discarded();
        self.position.publish();
        self.released.publish();
        self.set_producer(peer);
    }

    /// The ring.
    pub fn ring(&self) -> &TypedRing<'m, T> {
        &self.ring
    }

    /// How often this end was claimed, with this time. From 65535 it goes on with 1.
    pub fn epoch(&self) -> u32 {
        self.start.stamp.epoch()
    }

    /// Where the next record is, or will be: a position that counts on modulo 2^16, and the one
    /// at which a later incarnation resumes.
    pub fn position(&self) -> u16 {
        self.head as u16
    }

    /// Records that the last look at the producer found and that are not released yet.
    pub fn remaining(&self) -> usize {
        self.end.wrapping_sub(self.head) as usize
    }

    /// Records that consumers of this ring discarded, this one and those before
    /// it; counts on modulo 2^32. Never too few: a record is counted before it is given
    /// back, so a consumer that dies in between leaves it to be counted once more.
    pub fn discarded(&self) -> u32 {
        self.discarded
    }

    /// Whether there is nothing to say now. A restart counts as a record, and so do a
    /// broken ring and an eviction, so that a waiter comes back and learns of it.
    pub fn is_empty(&mut self) -> bool {
        self.refill() == Err(PopError::Empty)
    }

    /// Waits until there is a record, or something to say; `false` if the deadline
    /// passes first.
    pub fn wait<W: Wait>(&mut self, wait: &mut W) -> bool {
        let records = self.records;
        let found = records.wait(wait, || (!self.is_empty()).then_some(()));
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
        self.sync_head();
        let slept = self.space.ring(doorbell);
        self.check_owned()?;
        Ok(slept)
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
        self.check_owned()?;
        if self.peeked != self.head {
            return self.advance(self.peeked);
        }
        Ok(())
    }

    /// Makes sure that there is a record to hand out.
    #[inline(always)]
    fn find(&mut self) -> Result<(), PopError> {
        if self.head == self.end || !self.claim.is_ours() {
            return self.find_slow();
        }
        Ok(())
    }

    /// As [`TypedConsumer::find`], with a look at the producer; reports a restart.
    #[inline(never)]
    fn find_slow(&mut self) -> Result<(), PopError> {
        let found = self.refill();
        if found == Err(PopError::Restarted) {
            self.restarted = false;
        }
        found
    }

    /// Looks at the producer if no record is known; says what is to be said.
    fn refill(&mut self) -> Result<(), PopError> {
        self.check_owned()?;
        if self.head == self.end && !self.restarted {
            self.poll_producer()?;
        }
        if self.restarted {
            return Err(PopError::Restarted);
        }
        if self.head == self.end {
            return Err(PopError::Empty);
        }
        Ok(())
    }

    /// Moves our position to `end`. `head` is stored after an eighth of the ring: a producer
    /// that looks for space takes its line away, and each store has to wait for that.
    #[inline(always)]
    pub(super) fn advance(&mut self, end: u32) -> Result<(), PopError> {
        self.head = end;
        self.peeked = end;
        self.position.set(end);
        if SMALL || distance(self.released.stamp.position(), end) >= self.slots.len() / 8 {
            self.released.set(end);
        }
        // The look stays after the stores where this program is stopped between them. Where it
        // runs on meanwhile, see P7.
        // loom: none (a fence of the compiler's alone)
        compiler_fence(SeqCst);
        match self.claim.is_ours() {
            true => Ok(()),
            false => self.outcome_after_eviction(end),
        }
    }

    /// Says whose the records before `end` are, which we released while another took the end
    /// over: those that it goes on at are its own, and all before its start are ours.
    #[cold]
    #[inline(never)]
    fn outcome_after_eviction(&mut self, end: u32) -> Result<(), PopError> {
        let evicted = self.fail(PopError::Evicted);
        let start = self
            .ring
            .control
            .consumer_starts()
            .first_after(self.epoch());
        let before = start.map_or(0, |start| distance(start.position(), end));
        match before != 0 && before <= self.slots.len() {
            true => Err(evicted),
            false => Ok(()),
        }
    }

    /// Passes over `count` records, and counts them before that.
    pub(super) fn discard(&mut self, count: u32) -> Result<(), PopError> {
        self.discarded = self.discarded.wrapping_add(count);
        self.store_discarded();
        self.advance(self.head.wrapping_add(count))
    }

    fn store_discarded(&self) {
        let word = self.ring.control.discarded().word(self.epoch());
        // relaxed: the store of the position publishes it.
        word.store(self.discarded, Relaxed);
    }

    /// Gives back what lies before our position, if that has not been done, and stores our
    /// words again where late stores have replaced them.
    pub(super) fn sync_head(&mut self) {
        self.released.stamp = self.position.stamp;
        for word in [self.start, self.position, self.released] {
            word.restore();
        }
    }

    /// Goes by another producer; says so to the next claimant of this end.
    pub(super) fn set_producer(&mut self, peer: u32) {
        self.peer = peer;
        self.tail_word = self.ring.control.tails().word(peer);
        self.next_start = self.ring.control.producer_starts().word(next(peer));
        self.next_seen = NOT_LOADED;
        self.filters = self.on_restart == OnRestart::Discard;
        let known = self.ring.control.known_producers();
        self.store_producer_epoch(known);
    }

    /// Stores the producer's epoch into our epoch's word of `words`.
    pub(super) fn store_producer_epoch(&self, words: EpochWords<'m>) {
        let epoch = self.epoch();
        // relaxed: the next store of the position publishes it.
        words
            .word(epoch)
            .store(Stamp::new(epoch, self.peer).0, Relaxed);
    }

    /// Whether this end is ours (P6), and the ring is sound.
    #[inline(always)]
    pub(super) fn check_owned(&mut self) -> Result<(), PopError> {
        if self.claim.is_ours() && self.terminal.is_none() {
            return Ok(());
        }
        Err(self.fail(PopError::Evicted))
    }

    /// Keeps that the ring is corrupt, unless it is another's: what that one does is not
    /// to be held against our position.
    #[cold]
    pub(super) fn corrupt(&mut self, corrupt: Corrupt) -> PopError {
        match self.check_owned() {
            Ok(()) => self.fail(PopError::Corrupt(corrupt)),
            Err(error) => error,
        }
    }

    /// Keeps what is said for good, and returns it.
    #[cold]
    #[inline(never)]
    fn fail(&mut self, error: PopError) -> PopError {
        if !self.claim.is_ours() {
            self.claim.mark_lost();
        }
        // Every later call looks for a record, and finds this.
        self.end = self.head;
        self.peeked = self.head;
        *self.terminal.get_or_insert(error)
    }
}

impl<T: AnyBitPattern + NoUninit> TypedConsumer<'_, T> {
    /// Copies the next record out of the ring and releases it. Never waits, rings no bell.
    ///
    /// # Errors
    ///
    /// [`PopError::Empty`] if there is none, [`PopError::Restarted`] between the records of two
    /// incarnations of the producer, [`PopError::Corrupt`] if it broke the protocol,
    /// [`PopError::Evicted`] if this end was taken over.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub fn pop(&mut self) -> Result<T, PopError> {
        let mut value = T::zeroed();
        self.pop_into(&mut value)?;
        Ok(value)
    }

    /// As [`TypedConsumer::pop`], to a place of the caller's: with one copy less, which counts
    /// where records are long. After [`PopError::Evicted`] the record there is the successor's.
    ///
    /// # Errors
    ///
    /// As [`TypedConsumer::pop`].
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub fn pop_into(&mut self, value: &mut T) -> Result<(), PopError> {
        self.find()?;
        self.slots.read(self.head, value);
        self.advance(self.head.wrapping_add(1))
    }

    /// Copies the next record, which stays the next one until [`TypedConsumer::release`].
    ///
    /// # Errors
    ///
    /// As [`TypedConsumer::pop`].
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub fn peek(&mut self) -> Result<T, PopError> {
        self.find()?;
        self.peeked = self.head.wrapping_add(1);
        let mut value = T::zeroed();
        self.slots.read(self.head, &mut value);
        Ok(value)
    }

    /// Copies as many records into the front of `values` as are known, or found by a look at the
    /// producer if none is, and releases them together; returns how many.
    ///
    /// # Errors
    ///
    /// As [`TypedConsumer::pop`], but that an empty ring gives 0. After
    /// [`PopError::Evicted`] all of them are the successor's.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub fn pop_slice(&mut self, values: &mut [T]) -> Result<usize, PopError> {
        match self.find() {
            Ok(()) => {}
            Err(PopError::Empty) => return Ok(0),
            Err(error) => return Err(error),
        }
        let count = self.remaining().min(values.len());
        self.slots.read_all(self.head, &mut values[..count]);
        self.advance(self.head.wrapping_add(count as u32))?;
        Ok(count)
    }
}

impl<T> Drop for TypedConsumer<'_, T> {
    fn drop(&mut self) {
        // An evicted one has nothing to give back.
        if self.check_owned().is_ok() {
            self.sync_head();
        }
        self.claim.release();
    }
}
