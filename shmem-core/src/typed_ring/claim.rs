//! How an end of a typed ring is claimed.

use core::sync::atomic::compiler_fence;

use super::consumer::TypedConsumer;
use super::control::Progress;
use super::error::ClaimError;
use super::memory::TypedRing;
use super::producer::{ProducerStart, TypedProducer};
use super::stamp::{before, distance, next, EpochWords, Own, Stamp};
use crate::claim::{Claim, End, OnRestart, Taken};
use crate::error::Corrupt;
use crate::incarnation::Incarnation;
use crate::mem::Word;
use crate::primitive::{
    fence,
    Ordering::{Relaxed, SeqCst},
};

/// What a claimant finds.
struct Found {
    progress: Progress,
    /// The latest start of an earlier claimant.
    start: Stamp,
    /// The other end's epoch: of the latest consumer, or of the producer that was read from.
    peer: u32,
}

impl<'m, T> TypedRing<'m, T> {
    /// Claims the producing end for `incarnation`, and resumes where a producer
    /// before it stopped.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Claimed`] while another holds it, or this incarnation itself: if that
    /// one is gone, [`TypedRing::take_over_producer`]. An earlier incarnation of the same
    /// partition is. [`ClaimError::Corrupt`] if what was left is not a typed ring, or the
    /// other end was claimed at the same time for records of another size.
    pub fn producer(self, incarnation: Incarnation) -> Result<TypedProducer<'m, T>, ClaimError> {
        End::new(self.control.producer_claim()).check(incarnation)?;
        self.take_over_producer(incarnation)
    }

    /// As [`TypedRing::producer`], in place of an incarnation that is gone. One that is not is
    /// told so at its next call ([`PushError::Evicted`](super::PushError::Evicted)).
    ///
    /// An incarnation that takes over its own end restarts that end: for the peer it is
    /// another producer. The handle it had before must not be used again; the claim is
    /// the same, so nobody tells that handle.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Corrupt`] as there: the claim stays as it was, or is given back if that
    /// was seen only after it was made.
    pub fn take_over_producer(
        self,
        incarnation: Incarnation,
    ) -> Result<TypedProducer<'m, T>, ClaimError> {
        let end = End::new(self.control.producer_claim());
        let taken = end.take(incarnation, || self.find_producer())?;
        let Progress { tail, head, .. } = taken.start.progress;
        let (claim, peer) = (taken.claim, taken.start.peer);
        let start = self.start(&taken, self.control.producer_starts(), tail);
        self.agree_on_size(&claim, self.control.producer_size())?;
        let epoch = start.stamp.epoch();
        let known = match taken.again {
            // relaxed: we stored it ourselves.
            true => Stamp(self.control.addressed().of(epoch).load(Relaxed)),
            false => Stamp::new(peer, tail),
        };
        let addressed = Own::with(self.control.addressed().of(epoch), known);
        let mut producer = TypedProducer::new(
            self,
            ProducerStart {
                claim,
                start,
                addressed,
                tail,
                head,
                peer,
            },
        );
        if claim.is_ours() {
            producer.begin();
        }
        Ok(producer)
    }

    /// Claims the consuming end for `incarnation`, and resumes where a consumer
    /// before it stopped: what that one had not released is there again, or
    /// discarded, as `unread` says.
    ///
    /// # Errors
    ///
    /// As [`TypedRing::producer`].
    pub fn consumer(
        self,
        incarnation: Incarnation,
        unread: OnRestart,
    ) -> Result<TypedConsumer<'m, T>, ClaimError> {
        End::new(self.control.consumer_claim()).check(incarnation)?;
        self.take_over_consumer(incarnation, unread)
    }

    /// As [`TypedRing::consumer`], in place of an incarnation that is gone, as in
    /// [`TypedRing::take_over_producer`].
    ///
    /// # Errors
    ///
    /// [`ClaimError::Corrupt`] as there.
    pub fn take_over_consumer(
        self,
        incarnation: Incarnation,
        unread: OnRestart,
    ) -> Result<TypedConsumer<'m, T>, ClaimError> {
        let end = End::new(self.control.consumer_claim());
        let taken = end.take(incarnation, || self.find_consumer())?;
        let claim = taken.claim;
        let Progress {
            position, reader, ..
        } = taken.start.progress;
        let start = self.start(&taken, self.control.consumer_starts(), position);
        self.agree_on_size(&claim, self.control.consumer_size())?;
        let peer = self.first_producer(taken.start.peer, position, unread);
        let epoch = start.stamp.epoch();
        let mut consumer = TypedConsumer::new(self, claim, start, position, unread);
        consumer.count_from(reader);
        if claim.is_ours() {
            consumer.begin(peer);
        }
        // relaxed: we stored it ourselves, if it is that.
        let accepted = self.control.accepted().of(epoch).load(Relaxed);
        consumer.sifts &= !taken.again || accepted != Stamp::new(epoch, peer).0;
        Ok(consumer)
    }

    /// Who holds the producing end.
    pub fn producing(&self) -> Option<Incarnation> {
        End::new(self.control.producer_claim()).holder()
    }

    /// Who holds the consuming end.
    pub fn consuming(&self) -> Option<Incarnation> {
        End::new(self.control.consumer_claim()).holder()
    }

    fn find_producer(&self) -> Result<Found, Corrupt> {
        self.check_size()?;
        Ok(Found {
            progress: self.control.progress(self.slots.len())?,
            peer: self.control.consumer_starts().latest().epoch(),
            start: self.control.producer_starts().latest(),
        })
    }

    fn find_consumer(&self) -> Result<Found, Corrupt> {
        self.check_size()?;
        Ok(Found {
            progress: self.control.progress(self.slots.len())?,
            peer: self.control.known_producers().latest().position(),
            start: self.control.consumer_starts().latest(),
        })
    }

    /// The start of who has `taken` an end at `position`, among the end's `starts`. It is the
    /// first word that a claimant stores, so that no other one takes the same epoch (P5).
    fn start(&self, taken: &Taken<'m, Found>, starts: EpochWords<'m>, position: u32) -> Own<'m> {
        let last = taken.start.start;
        if taken.again && last.epoch() != 0 {
            return Own::with(starts.of(last.epoch()), last);
        }
        let start = Own::new(starts, next(last.epoch()), position);
        start.publish();
        // Whoever stopped before that store does not make another one.
        compiler_fence(SeqCst); // loom: none (a fence of the compiler's alone)
        start
    }

    /// Stores the size of our records into `own`, our end's word, and holds the other's
    /// against it.
    fn agree_on_size(&self, claim: &Claim<'m>, own: Word<'m>) -> Result<(), ClaimError> {
        // relaxed: only who holds the end stores it.
        let is_new = own.load(Relaxed) == 0 && claim.is_ours();
        if is_new {
            self.store_size(own);
            // The size stored before it and the other end's that is loaded after it must not
            // pass each other: of two that come at once and disagree, one finds out.
            fence(SeqCst); // loom: loom_typed_ring
        }
        self.check_size().map_err(|corrupt| {
            if is_new && claim.is_ours() {
                own.store(0, Relaxed); // relaxed: as it was.
            }
            claim.give_back();
            ClaimError::Corrupt(corrupt)
        })
    }

    /// The producer whose records a consumer finds at `position`, where the one before it read
    /// those of the producer `known`; for commands the latest one.
    fn first_producer(&self, known: u32, position: u32, unread: OnRestart) -> u32 {
        let starts = self.control.producer_starts();
        if unread == OnRestart::Discard {
            return starts.latest().epoch();
        }
        let mut peer = known;
        for _ in 0..4 {
            let Some(start) = starts.first_after(peer) else {
                break;
            };
            let ahead = distance(position, start.position());
            if ahead != 0 && ahead <= self.slots.len() {
                // Its records come later: those before it are of one that came before it.
                return match peer {
                    0 => before(start.epoch()),
                    _ => peer,
                };
            }
            peer = start.epoch();
        }
        peer
    }
}
