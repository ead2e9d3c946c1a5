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

/// The end that pops. Dropping it releases the claim.
///
/// After another incarnation takes over this end, every call returns [`PopError::Evicted`]
/// (P6), even if this incarnation was not gone.
///
/// Aligned so that the two ends of a ring in one program do not share a line.
#[repr(align(128))]
pub struct TypedConsumer<'m, T> {
    slots: Slots<'m, T>,
    pub(super) ring: TypedRing<'m, T>,
    /// Our position: the first record not released.
    pub(super) head: u32,
    /// The records up to here are published and can be returned.
    pub(super) end: u32,
    /// The end of the record that was peeked last; `head` if there is none.
    peeked: u32,
    pub(super) pace: Pace,
    /// The epoch of the producer whose records we read; 0 if there was none.
    pub(super) peer: u32,
    /// True if its restart is still to be reported.
    pub(super) restarted: bool,
    /// True if its records may be for another consumer and must then be discarded.
    pub(super) filters: bool,
    pub(super) on_restart: OnRestart,
    discarded: u32,
    /// Our words.
    position: OwnWord<'m>,
    released: OwnWord<'m>,
    start: OwnWord<'m>,
    /// The `tails` word of the producer whose records we read, and the `producer_starts` word
    /// of the next one.
    pub(super) tail_word: Word<'m>,
    pub(super) next_start: Word<'m>,
    /// The value of `next_start` until the next producer claims the end.
    pub(super) next_seen: u32,
    claim: Claim<'m>,
    /// The error that every later call returns.
    pub(super) terminal: Option<PopError>,
    records: Sleeper<'m>,
    space: Ringer<'m>,
}

impl<'m, T> TypedConsumer<'m, T> {
    /// Returns the end at `position`. `start`, the first word of our epoch, is already stored.
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

    /// Continues the count of discarded records of the consumer with epoch `reader`.
    pub(super) fn resume_discarded(&mut self, reader: u32) {
        // relaxed: stored before its position was, which was loaded with Acquire.
        self.discarded = self.ring.control.discarded().word(reader).load(Relaxed);
    }

    /// Stores the words of our epoch; we read records of the producer with epoch `peer`.
    pub(super) fn publish_words(&mut self, peer: u32) {
        self.store_discarded();
        self.position.publish();
        self.released.publish();
        self.set_producer(peer);
    }

    /// Returns the ring.
    pub fn ring(&self) -> &TypedRing<'m, T> {
        &self.ring
    }

    /// Returns the epoch of this end, from 1; 1 follows 65535.
    pub fn epoch(&self) -> u32 {
        self.start.stamp.epoch()
    }

    /// Returns the position of the next record, modulo 2^16. A later incarnation resumes there.
    pub fn position(&self) -> u16 {
        self.head as u16
    }

    /// Returns the number of records that the last poll found and that are not released yet.
    pub fn remaining(&self) -> usize {
        self.end.wrapping_sub(self.head) as usize
    }

    /// Returns the number of records that this consumer and those before it discarded, modulo
    /// 2^32. It is never too low: a record is counted before it is released. If a consumer
    /// dies between the two, its successor counts that record again.
    pub fn discarded(&self) -> u32 {
        self.discarded
    }

    /// Returns true if `pop` would return [`PopError::Empty`]. Returns false also for a
    /// restart, a corrupt ring and an eviction, so that a waiter calls `pop` and receives the
    /// error.
    pub fn is_empty(&mut self) -> bool {
        self.refill() == Err(PopError::Empty)
    }

    /// Waits until there is a record or an error to report. Returns `false` if the deadline
    /// passes first.
    pub fn wait<W: Wait>(&mut self, wait: &mut W) -> bool {
        let records = self.records;
        let found = records.wait(wait, || (!self.is_empty()).then_some(()));
        found.is_some()
    }

    /// Stores `head`, and rings `doorbell` if the producer sleeps until there is space.
    /// Call it after releasing records. Returns true if the producer slept.
    ///
    /// Without it the producer sees free slots only when an eighth of the ring is free, or when
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
        self.sync_head();
        let slept = self.space.ring(doorbell);
        self.check_owned()?;
        Ok(slept)
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
        self.check_owned()?;
        if self.peeked != self.head {
            return self.advance(self.peeked);
        }
        Ok(())
    }

    /// Returns `Ok` if there is a record to return.
    #[inline(always)]
    fn find(&mut self) -> Result<(), PopError> {
        if self.head == self.end || !self.claim.is_ours() {
            return self.find_slow();
        }
        Ok(())
    }

    /// As [`TypedConsumer::find`], but polls the producer and reports a restart.
    #[inline(never)]
    fn find_slow(&mut self) -> Result<(), PopError> {
        let found = self.refill();
        if found == Err(PopError::Restarted) {
            self.restarted = false;
        }
        found
    }

    /// Polls the producer if no record is known. Returns the error to report, if there is one.
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

    /// Moves our position to `end`. Stores `head` only after each eighth of the ring, because
    /// the producer loads it, and then the next store waits for the line.
    #[inline(always)]
    pub(super) fn advance(&mut self, end: u32) -> Result<(), PopError> {
        self.head = end;
        self.peeked = end;
        self.position.set(end);
        if SMALL || distance(self.released.stamp.position(), end) >= self.slots.len() / 8 {
            self.released.set(end);
        }
        // Keeps the check after the stores, for a program that is stopped between them. For one
        // that runs meanwhile, see P7.
        // loom: none (a fence of the compiler's alone)
        compiler_fence(SeqCst);
        match self.claim.is_ours() {
            true => Ok(()),
            false => self.outcome_after_eviction(end),
        }
    }

    /// Returns the result of a call that released the records before `end` while a successor
    /// took over the end. `Evicted` if the successor receives some of them, which means that its
    /// start is before `end`; otherwise `Ok`.
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

    /// Counts and then releases `count` records.
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

    /// Stores `head` if it lags, and restores those of our words that late stores have replaced.
    pub(super) fn sync_head(&mut self) {
        self.released.stamp = self.position.stamp;
        for word in [self.start, self.position, self.released] {
            word.restore();
        }
    }

    /// Sets the producer whose records we read, and stores its epoch for the next claimant.
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

    /// Returns the error to report if this end is not ours (P6) or the ring is corrupt.
    #[inline(always)]
    pub(super) fn check_owned(&mut self) -> Result<(), PopError> {
        if self.claim.is_ours() && self.terminal.is_none() {
            return Ok(());
        }
        Err(self.fail(PopError::Evicted))
    }

    /// Records permanently that the ring is corrupt, or that this end was taken over: the words
    /// of a ring that has another consumer need not fit our position.
    #[cold]
    pub(super) fn corrupt(&mut self, corrupt: Corrupt) -> PopError {
        match self.check_owned() {
            Ok(()) => self.fail(PopError::Corrupt(corrupt)),
            Err(error) => error,
        }
    }

    /// Stores the error that every later call returns, and returns it.
    #[cold]
    #[inline(never)]
    fn fail(&mut self, error: PopError) -> PopError {
        if !self.claim.is_ours() {
            self.claim.mark_lost();
        }
        // Leave no record, so that every later call polls and finds this error.
        self.end = self.head;
        self.peeked = self.head;
        *self.terminal.get_or_insert(error)
    }
}

impl<T: AnyBitPattern + NoUninit> TypedConsumer<'_, T> {
    /// Copies the next record out of the ring and releases it. Never waits, never rings the
    /// doorbell.
    ///
    /// # Errors
    ///
    /// - [`PopError::Empty`] if there is no record.
    /// - [`PopError::Restarted`] once, between the records of two epochs of the producer.
    /// - [`PopError::Corrupt`] if the producer broke the protocol.
    /// - [`PopError::Evicted`] if this end was taken over.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub fn pop(&mut self) -> Result<T, PopError> {
        let mut value = T::zeroed();
        self.pop_into(&mut value)?;
        Ok(value)
    }

    /// As [`TypedConsumer::pop`], but copies the record to `value`. It saves a copy, which matters
    /// for long records. After [`PopError::Evicted`], `value` may hold a record that the successor
    /// receives, too.
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

    /// Returns a copy of the next record, which stays the next one until
    /// [`TypedConsumer::release`].
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

    /// Copies up to `values.len()` records into the start of `values` and releases them together.
    /// Polls the producer only if no record is known. Returns the number of records.
    ///
    /// # Errors
    ///
    /// As [`TypedConsumer::pop`], but returns 0 for an empty ring. After
    /// [`PopError::Evicted`] the successor receives some or all of these records, too.
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
        // An evicted end stores nothing.
        if self.check_owned().is_ok() {
            self.sync_head();
        }
        self.claim.release();
    }
}
