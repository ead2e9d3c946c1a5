//! How an end of a ring is claimed.

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
    /// Claims the producing end for `incarnation`, and resumes where a producer
    /// before it stopped.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Claimed`] while another holds it, or this incarnation itself: if that
    /// one is gone, [`Ring::take_over_producer`]. An earlier incarnation of the same
    /// partition is. [`ClaimError::Corrupt`] if what was left is not a ring.
    pub fn producer(self, incarnation: Incarnation) -> Result<Producer<'m>, ClaimError> {
        self.producer_end().claim.check(incarnation)?;
        self.take_over_producer(incarnation)
    }

    /// As [`Ring::producer`], in place of an incarnation that is gone. One that is not is
    /// told so at its next call ([`PushError::Evicted`](super::PushError::Evicted)).
    ///
    /// An incarnation that takes over its own end restarts that end: for the peer it is
    /// another producer. The handle it had before must not be used again; the claim is
    /// the same, so nobody tells that handle.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Corrupt`] if what was left is not a ring: the claim stays
    /// as it was, or is given back if that was seen only after it was made.
    pub fn take_over_producer(self, incarnation: Incarnation) -> Result<Producer<'m>, ClaimError> {
        let (start, claim, epoch) =
            self.producer_end()
                .acquire(incarnation, &self, start_producer)?;
        let mut producer = Producer::new(self, start, claim, epoch);
        // So it lags by what one incarnation may leave, however many died.
        producer.sync_tail();
        Ok(producer)
    }

    /// Claims the consuming end for `incarnation`, and resumes where a consumer
    /// before it stopped: what that one had not released is there again, or
    /// discarded, as `on_restart` says.
    ///
    /// # Errors
    ///
    /// As [`Ring::producer`].
    pub fn consumer(
        self,
        incarnation: Incarnation,
        on_restart: OnRestart,
    ) -> Result<Consumer<'m>, ClaimError> {
        self.consumer_end().claim.check(incarnation)?;
        self.take_over_consumer(incarnation, on_restart)
    }

    /// As [`Ring::consumer`], in place of an incarnation that is gone, as in
    /// [`Ring::take_over_producer`].
    ///
    /// # Errors
    ///
    /// [`ClaimError::Corrupt`] if what was left is not a ring: the claim stays
    /// as it was, or is given back if that was seen only after it was made.
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

    /// Who holds the producing end.
    pub fn producing(&self) -> Option<Incarnation> {
        self.producer_end().claim.holder()
    }

    /// Who holds the consuming end.
    pub fn consuming(&self) -> Option<Incarnation> {
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

/// Where a producer goes on, and the consumer's epoch.
fn start_producer(ring: &Ring<'_>) -> Result<(Start, u32), Corrupt> {
    // relaxed: an old one is as good as having claimed earlier; each call loads it again.
    let peer = ring.consumer_epoch().load(Relaxed);
    let peer = epoch::check(ControlWord::ConsumerEpoch, peer, 0)?;
    Ok((resume::producer(ring)?, peer))
}

/// Where a consumer goes on, and the producer's epoch.
fn start_consumer(ring: &Ring<'_>) -> Result<(Start, u32), Corrupt> {
    // relaxed: as for a producer.
    let peer = ring.producer_epoch().load(Relaxed);
    let peer = epoch::check(ControlWord::ProducerEpoch, peer, 0)?;
    Ok((resume::consumer(ring)?, peer))
}
