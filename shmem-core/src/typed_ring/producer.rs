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

/// The end that pushes. Dropping it gives the claim back.
///
/// Every call says [`PushError::Evicted`] once another has taken this end over, whether
/// this one was gone or was only thought to be (P6).
///
/// Aligned so that the two ends of a ring in one program do not share a line.
#[repr(align(128))]
pub struct TypedProducer<'m, T> {
    pub(super) slots: Slots<'m, T>,
    ring: TypedRing<'m, T>,
    /// Our position: after the last record we published.
    tail: u32,
    /// What the consumer had given back when we last looked: at most what it has now.
    pub(super) head: u32,
    /// Up to here slots need no look at the consumer: at most a sixteenth of the ring from the
    /// last look on. With what is known to be free lines can be fetched.
    room: u32,
    /// Up to here lines were fetched, or there was none to fetch.
    pub(super) fetched: u32,
    /// The consumer's epoch, as far as we know; 0 if there was none.
    peer: u32,
    /// Our words.
    tail_word: OwnWord<'m>,
    start: OwnWord<'m>,
    /// Its epoch is the consumer's.
    addressed: OwnWord<'m>,
    /// The consumer's words: of the one we know, and of the next one.
    head_word: Word<'m>,
    next_start: Word<'m>,
    /// What `next_start` holds while nobody has claimed the end after the consumer we know.
    next_seen: u32,
    pub(super) claim: Claim<'m>,
    /// What is said for good.
    terminal: Option<PushError>,
    records: Ringer<'m>,
    space: Sleeper<'m>,
}

/// Where a producer begins.
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

    /// Takes the words of our epoch into use; the first of them is there.
    pub(super) fn publish_words(&mut self) {
        self.address_to(self.peer);
        self.addressed.publish();
        self.tail_word.publish();
    }

    /// The ring.
    pub fn ring(&self) -> &TypedRing<'m, T> {
        &self.ring
    }

    /// Where the next record goes: a position that counts on modulo 2^16, and at which a
    /// later incarnation resumes.
    pub fn position(&self) -> u16 {
        self.tail as u16
    }

    /// Records that can be pushed before the next look at the consumer.
    pub fn remaining(&self) -> usize {
        self.room.wrapping_sub(self.tail) as usize
    }

    /// Rings `doorbell` if the consumer sleeps. Call it after a push. Returns whether it slept.
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
        self.restore();
        let slept = self.records.ring(doorbell);
        self.check_owned()?;
        Ok(slept)
    }

    /// Waits until a record fits; `false` if the deadline passes first.
    ///
    /// # Errors
    ///
    /// As [`TypedProducer::push`], but for [`PushError::Full`].
    pub fn wait_for_space<W: Wait>(&mut self, wait: &mut W) -> Result<bool, PushError> {
        let space = self.space;
        let found = space.wait(wait, || match self.poll_consumer() {
            Ok(()) => Some(Ok(true)),
            Err(PushError::Full) => None,
            Err(error) => Some(Err(error)),
        });
        found.unwrap_or(Ok(false))
    }

    /// Looks at the consumer: `Ok` if there is room for a record, and the end is ours.
    #[inline(never)]
    fn poll_consumer(&mut self) -> Result<(), PushError> {
        self.check_owned()?;
        self.restore();
        // Pairs with the store in `TypedConsumer::advance`: the consumer has finished reading
        // what we are about to overwrite.
        // loom: loom_typed_ring
        let mut head = Stamp(self.head_word.load(Acquire));
        // relaxed: loaded after `head`; where it tells of another consumer, `note_consumer`
        // loads it again.
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

    /// Slots that are known to be free.
    fn free(&self) -> u32 {
        self.slots.len() - self.tail.wrapping_sub(self.head)
    }

    /// Takes note of another consumer.
    #[cold]
    fn note_consumer(&mut self) -> Result<(), PushError> {
        let start = self.ring.control.consumer_starts().latest();
        self.free_up_to(start, ControlWord::ConsumerStart)?;
        let known = core::mem::replace(&mut self.peer, start.epoch());
        self.head_word = self.ring.control.heads().word(self.peer);
        self.next_start = self.ring.control.consumer_starts().word(next(self.peer));
        self.next_seen = NOT_LOADED;
        self.address_to(self.peer);
        // Nothing more before the next look, which loads `head`.
        self.room = self.tail;
        match known {
            0 => Ok(()), // The first consumer is not a restart.
            _ => Err(PushError::Restarted),
        }
    }

    /// Looks whether the consumer that we know has a start still: no word becomes 0 again.
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

    /// Says that the records from here on are for the consumer of this epoch.
    fn address_to(&mut self, consumer: u32) {
        let known = self.addressed.stamp;
        if known.epoch() == consumer {
            return;
        }
        // What was for the first consumer is for this one (P8).
        let from = match (known.epoch(), consumer) {
            (0, 1) => known.position(),
            _ => self.tail,
        };
        self.addressed.stamp = Stamp::new(consumer, from);
        // The next store of `tail` publishes it, too.
        self.addressed.publish();
    }

    /// Holds what the consumer says that it has given back against what we know (P2).
    fn free_up_to(&mut self, to: Stamp, word: ControlWord) -> Result<(), PushError> {
        let moved = distance(self.head, to.position());
        if moved > self.tail.wrapping_sub(self.head) {
            self.check_owned()?; // Whose `tail` it goes by is not ours then.
            let value = to.0;
            return Err(self.fail(PushError::Corrupt(Corrupt { word, value })));
        }
        self.head = self.head.wrapping_add(moved);
        Ok(())
    }

    /// Stores our words again where late stores have replaced them.
    fn restore(&self) {
        for word in [self.start, self.addressed, self.tail_word] {
            word.restore();
        }
    }

    /// Whether this end is ours (P6), and the ring is sound.
    #[inline(always)]
    fn check_owned(&mut self) -> Result<(), PushError> {
        if self.claim.is_ours() && self.terminal.is_none() {
            return Ok(());
        }
        Err(self.fail(PushError::Evicted))
    }

    /// Keeps what is said for good, and returns it.
    #[cold]
    #[inline(never)]
    fn fail(&mut self, error: PushError) -> PushError {
        if !self.claim.is_ours() {
            self.claim.mark_lost();
        }
        // Every later call asks for room, and finds this.
        self.room = self.tail;
        *self.terminal.get_or_insert(error)
    }
}

impl<T: NoUninit> TypedProducer<'_, T> {
    /// Copies `value` into the ring and publishes it. Never waits, rings no bell.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`] if no slot is free, [`PushError::Restarted`] if the consumer was
    /// restarted, [`PushError::Corrupt`] if it broke the protocol, [`PushError::Evicted`] if
    /// this end was taken over.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub fn push(&mut self, value: &T) -> Result<(), PushError> {
        if self.tail == self.room || !self.is_unchanged() {
            self.poll_consumer()?;
        }
        self.write(self.tail, value);
        self.publish(self.tail.wrapping_add(1))
    }

    /// Copies as many of `values` as there is room for and publishes them together; returns how
    /// many.
    ///
    /// # Errors
    ///
    /// As [`TypedProducer::push`]; [`PushError::Full`] only if not even one fits.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub fn push_slice(&mut self, values: &[T]) -> Result<usize, PushError> {
        let mut count = values.len();
        if self.remaining() < count || !self.is_unchanged() {
            self.poll_consumer()?;
            count = count.min(self.free() as usize);
            // It may be more than a sixteenth of the ring: we have just looked.
            self.room = self
                .tail
                .wrapping_add((count as u32).max(self.remaining() as u32));
        }
        self.write_all(self.tail, &values[..count]);
        self.publish(self.tail.wrapping_add(count as u32))?;
        Ok(count)
    }

    /// Whether the end is ours, and the consumer the one that we know.
    #[inline(always)]
    fn is_unchanged(&self) -> bool {
        // relaxed: it orders nothing; a record that a new consumer's claim overtakes is
        // addressed to the one before.
        self.claim.is_ours() && self.next_start.load(Relaxed) == self.next_seen
    }

    /// Publishes the records before `end`.
    #[inline(always)]
    fn publish(&mut self, end: u32) -> Result<(), PushError> {
        self.tail = end;
        self.tail_word.set(end);
        // The look stays after the store where this program is stopped between the two. Where
        // it runs on meanwhile, see P7.
        // loom: none (a fence of the compiler's alone)
        compiler_fence(SeqCst);
        if !self.claim.is_ours() {
            return self.outcome_after_eviction(end);
        }
        self.fetch_ahead(end);
        Ok(())
    }

    /// Says whether the records before `end` are there, which we published while another took
    /// the end over: if they are before its start, they are.
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
