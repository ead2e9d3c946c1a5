//! Claims and takes over the ends of a ring.

use core::mem::MaybeUninit;

use memoffset::offset_of;

use super::consumer::Consumer;
use super::epoch::{self, Acquired, End, Side};
use super::error::ClaimError;
use super::memory::Ring;
use super::producer::Producer;
use super::resume;
use crate::claim::{self, OnRestart};
use crate::error::ControlWord;
use crate::incarnation::Incarnation;
use crate::layout::RingControl;
use crate::primitive::Ordering::Relaxed;

impl<'m> Ring<'m> {
    /// Claims the producing end for `incarnation`, and resumes where the producer
    /// before it stopped. Takes over the end if an earlier incarnation of the same partition
    /// has it.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Claimed`] if another partition has the end, or this incarnation itself, or
    /// a later one. If the holder is gone, call [`Ring::take_over_producer`].
    /// [`ClaimError::Corrupt`] if the words in memory are not those of a ring.
    pub fn claim_producer(self, incarnation: Incarnation) -> Result<Producer<'m>, ClaimError> {
        self.open_producer(incarnation, false)
    }

    /// Claims the producing end as [`Ring::claim_producer`] does, in place of an incarnation that
    /// is gone. If it is not gone, its next call returns
    /// [`PushError::Evicted`](super::PushError::Evicted).
    ///
    /// An incarnation that takes over its own end restarts that end: for the peer it is
    /// another producer. Do not use the earlier handle again: its claim has the same value, so
    /// it cannot detect the takeover.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Claimed`] if another incarnation claims the end at the same time.
    /// [`ClaimError::Corrupt`] if the words in memory are not those of a ring: then the claim is
    /// unchanged, or released if the ring became corrupt after the claim was stored.
    pub fn take_over_producer(self, incarnation: Incarnation) -> Result<Producer<'m>, ClaimError> {
        self.open_producer(incarnation, true)
    }

    /// Claims the consuming end for `incarnation`, and resumes where the consumer
    /// before it stopped. Records that it had not released are delivered again or discarded,
    /// depending on `on_restart`.
    ///
    /// # Errors
    ///
    /// As [`Ring::claim_producer`].
    pub fn claim_consumer(
        self,
        incarnation: Incarnation,
        on_restart: OnRestart,
    ) -> Result<Consumer<'m>, ClaimError> {
        self.open_consumer(incarnation, on_restart, false)
    }

    /// Claims the consuming end as [`Ring::claim_consumer`] does, in place of an incarnation that
    /// is gone. The warnings of [`Ring::take_over_producer`] apply.
    ///
    /// # Errors
    ///
    /// As [`Ring::take_over_producer`].
    pub fn take_over_consumer(
        self,
        incarnation: Incarnation,
        on_restart: OnRestart,
    ) -> Result<Consumer<'m>, ClaimError> {
        self.open_consumer(incarnation, on_restart, true)
    }

    /// Returns the incarnation that has the producing end; `None` if none has it now.
    pub fn producer_owner(&self) -> Option<Incarnation> {
        self.end(Side::Producer).claim.holder()
    }

    /// Returns the incarnation that has the consuming end; `None` if none has it now.
    pub fn consumer_owner(&self) -> Option<Incarnation> {
        self.end(Side::Consumer).claim.holder()
    }

    fn open_producer(
        self,
        incarnation: Incarnation,
        take_over: bool,
    ) -> Result<Producer<'m>, ClaimError> {
        let acquired = self.acquire(Side::Producer, incarnation, take_over)?;
        let mut producer = Producer::new(self, acquired);
        producer.begin();
        Ok(producer)
    }

    /// Claims the producing end as [`Ring::claim_producer`] does, or takes it over if `take_over`
    /// is true, and stores the producer in `place`. This saves the copy of a returned value.
    /// `place` does not drop the producer: to release the end, call
    /// [`MaybeUninit::assume_init_drop`].
    ///
    /// # Errors
    ///
    /// Those of [`Ring::claim_producer`] and [`Ring::take_over_producer`].
    pub fn claim_producer_in<'p>(
        &self,
        place: &'p mut MaybeUninit<Producer<'m>>,
        incarnation: Incarnation,
        take_over: bool,
    ) -> Result<&'p mut Producer<'m>, ClaimError> {
        let acquired = self.acquire(Side::Producer, incarnation, take_over)?;
        let producer = place.write(Producer::new(*self, acquired));
        producer.begin();
        Ok(producer)
    }

    fn open_consumer(
        self,
        incarnation: Incarnation,
        on_restart: OnRestart,
        take_over: bool,
    ) -> Result<Consumer<'m>, ClaimError> {
        let acquired = self.acquire(Side::Consumer, incarnation, take_over)?;
        let mut consumer = Consumer::new(self, acquired, on_restart);
        consumer.begin();
        Ok(consumer)
    }

    /// Claims the consuming end as [`Ring::claim_consumer`] does, or takes it over if `take_over`
    /// is true, and stores the consumer in `place`. This saves the copy of a returned value.
    /// `place` does not drop the consumer: to release the end, call
    /// [`MaybeUninit::assume_init_drop`].
    ///
    /// # Errors
    ///
    /// Those of [`Ring::claim_consumer`] and [`Ring::take_over_consumer`].
    pub fn claim_consumer_in<'p>(
        &self,
        place: &'p mut MaybeUninit<Consumer<'m>>,
        incarnation: Incarnation,
        on_restart: OnRestart,
        take_over: bool,
    ) -> Result<&'p mut Consumer<'m>, ClaimError> {
        let acquired = self.acquire(Side::Consumer, incarnation, take_over)?;
        let consumer = place.write(Consumer::new(*self, acquired, on_restart));
        consumer.begin();
        Ok(consumer)
    }

    /// Claims an end. Unless it takes the end over, it first checks that the end is free.
    // One copy for both ends and both calls.
    #[inline(never)]
    fn acquire(
        &self,
        side: Side,
        incarnation: Incarnation,
        take_over: bool,
    ) -> Result<Acquired<'m>, ClaimError> {
        let end = self.end(side);
        if !take_over {
            end.claim.check(incarnation)?;
        }
        let peer = self.end(match side {
            Side::Producer => Side::Consumer,
            Side::Consumer => Side::Producer,
        });
        end.acquire(incarnation, || {
            // relaxed: an old value is as if we had claimed earlier; each call loads it again.
            let peer = epoch::check(peer.name, peer.epoch.load(Relaxed), 0)?;
            let start = match side {
                Side::Producer => resume::producer(self)?,
                Side::Consumer => resume::consumer(self)?,
            };
            Ok((start, peer))
        })
    }

    #[inline(always)]
    pub(super) fn end(&self, side: Side) -> End<'m> {
        let (claim, epoch, name) = match side {
            Side::Producer => (
                offset_of!(RingControl, producer),
                offset_of!(RingControl, producer_epoch),
                ControlWord::ProducerEpoch,
            ),
            Side::Consumer => (
                offset_of!(RingControl, consumer),
                offset_of!(RingControl, consumer_epoch),
                ControlWord::ConsumerEpoch,
            ),
        };
        End {
            claim: claim::End::new(self.control_word(claim)),
            epoch: self.control_word(epoch),
            name,
        }
    }
}
