//! Claims and takes over the ends of a ring.

use memoffset::offset_of;

use super::consumer::Consumer;
use super::epoch::{self, End};
use super::error::ClaimError;
use super::memory::Ring;
use super::producer::Producer;
use super::resume::{self, Start};
use crate::claim::{self, OnRestart};
use crate::error::{ControlWord, Corrupt};
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
        self.producer_end().claim.check(incarnation)?;
        self.take_over_producer(incarnation)
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
        let (start, claim, epoch) =
            self.producer_end()
                .acquire(incarnation, &self, start_producer)?;
        let mut producer = Producer::new(self, start, claim, epoch);
        // Limits the lag of `tail` to that of one incarnation, even if several die.
        producer.sync_tail();
        Ok(producer)
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
        self.consumer_end().claim.check(incarnation)?;
        self.take_over_consumer(incarnation, on_restart)
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
        let (start, claim, epoch) =
            self.consumer_end()
                .acquire(incarnation, &self, start_consumer)?;
        Ok(Consumer::new(self, start, claim, epoch, on_restart))
    }

    /// Returns the incarnation that has the producing end; `None` if none has it now.
    pub fn producer_owner(&self) -> Option<Incarnation> {
        self.producer_end().claim.holder()
    }

    /// Returns the incarnation that has the consuming end; `None` if none has it now.
    pub fn consumer_owner(&self) -> Option<Incarnation> {
        self.consumer_end().claim.holder()
    }

    pub(super) fn producer_end(&self) -> End<'m> {
        End {
            claim: claim::End::new(self.control_word(offset_of!(RingControl, producer))),
            epoch: self.producer_epoch(),
            name: ControlWord::ProducerEpoch,
        }
    }

    pub(super) fn consumer_end(&self) -> End<'m> {
        End {
            claim: claim::End::new(self.control_word(offset_of!(RingControl, consumer))),
            epoch: self.consumer_epoch(),
            name: ControlWord::ConsumerEpoch,
        }
    }
}

/// Returns where a producer resumes, and the consumer's epoch.
fn start_producer(ring: &Ring<'_>) -> Result<(Start, u32), Corrupt> {
    // relaxed: an old value is as if we had claimed earlier; each call loads it again.
    let peer = ring.consumer_epoch().load(Relaxed);
    let peer = epoch::check(ControlWord::ConsumerEpoch, peer, 0)?;
    Ok((resume::producer(ring)?, peer))
}

/// Returns where a consumer resumes, and the producer's epoch.
fn start_consumer(ring: &Ring<'_>) -> Result<(Start, u32), Corrupt> {
    // relaxed: as for a producer.
    let peer = ring.producer_epoch().load(Relaxed);
    let peer = epoch::check(ControlWord::ProducerEpoch, peer, 0)?;
    Ok((resume::consumer(ring)?, peer))
}
