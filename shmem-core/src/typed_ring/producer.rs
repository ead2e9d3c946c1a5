//! The end of a typed ring that pushes.

use core::sync::atomic::compiler_fence;

use bytemuck::NoUninit;

use super::error::PushError;
use super::memory::TypedRing;
use super::stamp::{distance, follows, next, OwnWord, Stamp, NOT_LOADED};
use crate::claim::Claim;
use crate::doorbell::{Doorbell, Ringer, Sleeper};
use crate::error::{ControlWord, Corrupt};
use crate::mem::{Slots, Word};
use crate::primitive::Ordering::{Acquire, Relaxed, SeqCst};
use crate::wait::Wait;

/// The end that pushes. Dropping it releases the claim.
///
/// After another incarnation takes over this end, every call returns [`PushError::Evicted`]
/// (P6), even if this incarnation was not gone.
///
/// Aligned so that the two ends of a ring in one program do not share a line.
#[repr(align(128))]
pub struct TypedProducer<'m, T> {
    pub(super) slots: Slots<'m, T>,
    ring: TypedRing<'m, T>,
    /// Our position: after the last record we published.
    tail: u32,
    /// The last `head` that we loaded: the consumer may have released more since.
    pub(super) head: u32,
    /// Records up to here need no poll of the consumer: at most a sixteenth of the ring after
    /// the last poll. So free slots remain whose lines can be fetched ahead.
    room: u32,
    /// Up to here lines were fetched, or there was no line to fetch.
    pub(super) fetched: u32,
    /// The last known epoch of the consumer; 0 if there was none.
    peer: u32,
    /// Our words.
    tail_word: OwnWord<'m>,
    start: OwnWord<'m>,
    /// Its epoch is the consumer's.
    addressed: OwnWord<'m>,
    /// The `heads` word of the consumer that we know, and the `consumer_starts` word of the next
    /// one.
    head_word: Word<'m>,
    next_start: Word<'m>,
    /// The value of `next_start` until the next consumer claims the end.
    next_seen: u32,
    pub(super) claim: Claim<'m>,
    /// The error that every later call returns.
    terminal: Option<PushError>,
    records: Ringer<'m>,
    space: Sleeper<'m>,
}

/// The state with which a producer begins.
pub(super) struct ProducerStart<'m> {
    pub(super) claim: Claim<'m>,
    pub(super) start: OwnWord<'m>,
    pub(super) addressed: OwnWord<'m>,
    pub(super) tail: u32,
    pub(super) head: u32,
    /// The consumer's epoch.
    pub(super) peer: u32,
}

impl<'m, T> TypedProducer<'m, T> {
    pub(super) fn new(ring: TypedRing<'m, T>, start: ProducerStart<'m>) -> Self {
        let ProducerStart { tail, peer, .. } = start;
        let epoch = start.start.stamp.epoch();
        Self {
            slots: ring.slots,
            ring,
            tail,
            head: tail.wrapping_sub(distance(start.head, tail)),
            room: tail,
            fetched: tail,
            peer,
            tail_word: OwnWord::new(ring.control.tails(), epoch, tail),
            start: start.start,
            addressed: start.addressed,
            head_word: ring.control.heads().word(peer),
            next_start: ring.control.consumer_starts().word(next(peer)),
            next_seen: NOT_LOADED,
            claim: start.claim,
            terminal: None,
            records: ring.control.records().0,
            space: ring.control.space().1,
        }
    }

    /// Stores the words of our epoch, except the first one, which is already stored.
    pub(super) fn publish_words(&mut self) {
        self.address_to(self.peer);
        self.addressed.publish();
        self.tail_word.publish();
    }

    /// Returns the ring.
    pub fn ring(&self) -> &TypedRing<'m, T> {
        &self.ring
    }

    /// Returns the position of the next record, modulo 2^16. A later incarnation resumes there.
    pub fn position(&self) -> u16 {
        self.tail as u16
    }

    /// Returns the number of records that can be pushed before the next poll of the consumer.
    pub fn remaining(&self) -> usize {
        self.room.wrapping_sub(self.tail) as usize
    }

    /// Rings `doorbell` if the consumer sleeps. Call it after a push. Returns true if the
    /// consumer slept.
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
        self.restore();
        let slept = self.records.ring(doorbell);
        self.check_owned()?;
        Ok(slept)
    }

    /// Waits until a record fits; `false` if the deadline passes first.
    ///
    /// # Errors
    ///
    /// As [`TypedProducer::push`], except [`PushError::Full`].
    pub fn wait_for_space<W: Wait>(&mut self, wait: &mut W) -> Result<bool, PushError> {
        let space = self.space;
        let found = space.wait(wait, || match self.poll_consumer() {
            Ok(()) => Some(Ok(true)),
            Err(PushError::Full) => None,
            Err(error) => Some(Err(error)),
        });
        found.unwrap_or(Ok(false))
    }

    /// Polls the consumer. Returns `Ok` if there is room for a record, and the end is ours.
    #[inline(never)]
    fn poll_consumer(&mut self) -> Result<(), PushError> {
        self.check_owned()?;
        self.restore();
        // Pairs with the store in `TypedConsumer::advance`: the consumer has finished reading
        // the slots that we are about to overwrite.
        // loom: loom_typed_ring
        let mut head = Stamp(self.head_word.load(Acquire));
        // relaxed: loaded after `head`; if it contains a later epoch, `note_consumer` loads it
        // again.
        let next_start = self.next_start.load(Relaxed);
        if follows(Stamp(next_start).epoch(), self.peer) {
            self.note_consumer()?;
            // As above.
            // loom: loom_typed_ring
            head = Stamp(self.head_word.load(Acquire));
        } else {
            self.next_seen = next_start;
        }
        if head.epoch() == self.peer {
            self.free_up_to(head, ControlWord::Head)?;
        } else {
            self.check_start()?;
        }
        let free = self.free();
        let most = (self.slots.len() / 16).max(1);
        self.room = self.tail.wrapping_add(free.min(most));
        match free {
            0 => Err(PushError::Full),
            _ => Ok(()),
        }
    }

    /// Returns the number of slots that are known to be free.
    fn free(&self) -> u32 {
        self.slots.len() - self.tail.wrapping_sub(self.head)
    }

    /// Handles a restart of the consumer.
    #[cold]
    fn note_consumer(&mut self) -> Result<(), PushError> {
        let start = self.ring.control.consumer_starts().latest();
        self.free_up_to(start, ControlWord::ConsumerStart)?;
        let known = core::mem::replace(&mut self.peer, start.epoch());
        self.head_word = self.ring.control.heads().word(self.peer);
        self.next_start = self.ring.control.consumer_starts().word(next(self.peer));
        self.next_seen = NOT_LOADED;
        self.address_to(self.peer);
        // Leave no room before the next poll, which loads `head`.
        self.room = self.tail;
        match known {
            0 => Ok(()), // The first consumer is not a restart.
            _ => Err(PushError::Restarted),
        }
    }

    /// Checks that the start of the consumer that we know is not 0: no start becomes 0 again.
    #[cold]
    fn check_start(&mut self) -> Result<(), PushError> {
        // relaxed: only whether it is 0 counts.
        let value = self
            .ring
            .control
            .consumer_starts()
            .word(self.peer)
            .load(Relaxed);
        if value == 0 {
            let word = ControlWord::ConsumerStart;
            return Err(self.fail(PushError::Corrupt(Corrupt { word, value })));
        }
        Ok(())
    }

    /// Stores that the records from here on are for the consumer with epoch `consumer`.
    fn address_to(&mut self, consumer: u32) {
        let known = self.addressed.stamp;
        if known.epoch() == consumer {
            return;
        }
        // Records for the first consumer are for this one (P8).
        let from = match (known.epoch(), consumer) {
            (0, 1) => known.position(),
            _ => self.tail,
        };
        self.addressed.stamp = Stamp::new(consumer, from);
        // The next store of `tail` publishes it, too.
        self.addressed.publish();
    }

    /// Treats the slots before `to` as free, after checking P2.
    fn free_up_to(&mut self, to: Stamp, word: ControlWord) -> Result<(), PushError> {
        let moved = distance(self.head, to.position());
        if moved > self.tail.wrapping_sub(self.head) {
            self.check_owned()?; // If evicted, `to` belongs to a successor's `tail`.
            let value = to.0;
            return Err(self.fail(PushError::Corrupt(Corrupt { word, value })));
        }
        self.head = self.head.wrapping_add(moved);
        Ok(())
    }

    /// Stores those of our words again that late stores have replaced.
    fn restore(&self) {
        for word in [self.start, self.addressed, self.tail_word] {
            word.restore();
        }
    }

    /// Returns the error to report if this end is not ours (P6) or the ring is corrupt.
    #[inline(always)]
    fn check_owned(&mut self) -> Result<(), PushError> {
        if self.claim.is_ours() && self.terminal.is_none() {
            return Ok(());
        }
        Err(self.fail(PushError::Evicted))
    }

    /// Stores the error that every later call returns, and returns it.
    #[cold]
    #[inline(never)]
    fn fail(&mut self, error: PushError) -> PushError {
        if !self.claim.is_ours() {
            self.claim.mark_lost();
        }
        // Leave no room, so that every later call polls and finds this error.
        self.room = self.tail;
        *self.terminal.get_or_insert(error)
    }
}

impl<T: NoUninit> TypedProducer<'_, T> {
    /// Copies `value` into the ring and publishes it. Never waits, never rings the doorbell.
    ///
    /// # Errors
    ///
    /// - [`PushError::Full`] if no slot is free.
    /// - [`PushError::Restarted`] once, if the consumer was restarted.
    /// - [`PushError::Corrupt`] if the consumer broke the protocol.
    /// - [`PushError::Evicted`] if this end was taken over.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub fn push(&mut self, value: &T) -> Result<(), PushError> {
        if self.tail == self.room || !self.is_unchanged() {
            self.poll_consumer()?;
        }
        self.write(self.tail, value);
        self.publish(self.tail.wrapping_add(1))
    }

    /// Copies as many of `values` as fit and publishes them together. Returns their number.
    ///
    /// # Errors
    ///
    /// As [`TypedProducer::push`]; [`PushError::Full`] only if no slot is free.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub fn push_slice(&mut self, values: &[T]) -> Result<usize, PushError> {
        let mut count = values.len();
        if self.remaining() < count || !self.is_unchanged() {
            self.poll_consumer()?;
            count = count.min(self.free() as usize);
            // It may be more than a sixteenth of the ring, because we have just polled.
            self.room = self
                .tail
                .wrapping_add((count as u32).max(self.remaining() as u32));
        }
        self.write_all(self.tail, &values[..count]);
        self.publish(self.tail.wrapping_add(count as u32))?;
        Ok(count)
    }

    /// Returns true if the end is ours and the consumer was not restarted.
    #[inline(always)]
    fn is_unchanged(&self) -> bool {
        // relaxed: it orders nothing; if a new consumer claims the end meanwhile, the record is
        // addressed to the one before.
        self.claim.is_ours() && self.next_start.load(Relaxed) == self.next_seen
    }

    /// Publishes the records before `end`.
    #[inline(always)]
    fn publish(&mut self, end: u32) -> Result<(), PushError> {
        self.tail = end;
        self.tail_word.set(end);
        // Keeps the check after the store, for a program that is stopped between the two. For
        // one that runs meanwhile, see P7.
        // loom: none (a fence of the compiler's alone)
        compiler_fence(SeqCst);
        if !self.claim.is_ours() {
            return self.outcome_after_eviction(end);
        }
        self.fetch_ahead(end);
        Ok(())
    }

    /// Returns the result of a call that published the records before `end` while a successor
    /// took over the end. `Ok` if the successor found them, which means that its start is not
    /// before `end`; otherwise `Evicted`.
    #[cold]
    #[inline(never)]
    fn outcome_after_eviction(&mut self, end: u32) -> Result<(), PushError> {
        let evicted = self.fail(PushError::Evicted);
        let starts = self.ring.control.producer_starts();
        let start = starts.first_after(self.start.stamp.epoch());
        let is_found = start.is_some_and(|start| {
            let before = distance(start.position(), end);
            before == 0 || before > self.slots.len()
        });
        match is_found {
            true => Ok(()),
            false => Err(evicted),
        }
    }
}

impl<T> Drop for TypedProducer<'_, T> {
    fn drop(&mut self) {
        self.claim.release();
    }
}
