//! How an end of a typed ring is claimed.

use core::sync::atomic::compiler_fence;

use super::consumer::TypedConsumer;
use super::control::Progress;
use super::error::ClaimError;
use super::memory::TypedRing;
use super::producer::{ProducerStart, TypedProducer};
use super::stamp::{distance, next, previous, EpochWords, OwnWord, Stamp};
use crate::claim::{Acquired, Claim, End, OnRestart};
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
        let acquired = end.acquire(incarnation, || self.find_producer())?;
        let Progress { tail, head, .. } = acquired.start.progress;
        let (claim, peer) = (acquired.claim, acquired.start.peer);
        let start = self.start(&acquired, self.control.producer_starts(), tail);
        self.agree_on_size(&claim, self.control.producer_size())?;
        let epoch = start.stamp.epoch();
        let known = match acquired.reclaimed {
            // relaxed: we stored it ourselves.
            true => Stamp(self.control.addressed().word(epoch).load(Relaxed)),
            false => Stamp::new(peer, tail),
        };
        let addressed = OwnWord::with_stamp(self.control.addressed().word(epoch), known);
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
            producer.publish_words();
        }
        Ok(producer)
    }

    /// Claims the consuming end for `incarnation`, and resumes where a consumer
    /// before it stopped: what that one had not released is there again, or
    /// discarded, as `on_restart` says.
    ///
    /// # Errors
    ///
    /// As [`TypedRing::producer`].
    pub fn consumer(
        self,
        incarnation: Incarnation,
        on_restart: OnRestart,
    ) -> Result<TypedConsumer<'m, T>, ClaimError> {
        End::new(self.control.consumer_claim()).check(incarnation)?;
        self.take_over_consumer(incarnation, on_restart)
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
        on_restart: OnRestart,
    ) -> Result<TypedConsumer<'m, T>, ClaimError> {
        let end = End::new(self.control.consumer_claim());
        let acquired = end.acquire(incarnation, || self.find_consumer())?;
        let claim = acquired.claim;
        let Progress {
            position, reader, ..
        } = acquired.start.progress;
        let start = self.start(&acquired, self.control.consumer_starts(), position);
        self.agree_on_size(&claim, self.control.consumer_size())?;
        let peer = self.first_producer(acquired.start.peer, position, on_restart);
        let epoch = start.stamp.epoch();
        let mut consumer = TypedConsumer::new(self, claim, start, position, on_restart);
        consumer.resume_discarded(reader);
        if claim.is_ours() {
            consumer.publish_words(peer);
        }
        // relaxed: we stored it ourselves, if it is that.
        let accepted = self.control.accepted().word(epoch).load(Relaxed);
        consumer.filters &= !acquired.reclaimed || accepted != Stamp::new(epoch, peer).0;
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
    fn start(
        &self,
        acquired: &Acquired<'m, Found>,
        starts: EpochWords<'m>,
        position: u32,
    ) -> OwnWord<'m> {
        let last = acquired.start.start;
        if acquired.reclaimed && last.epoch() != 0 {
            return OwnWord::with_stamp(starts.word(last.epoch()), last);
        }
        let start = OwnWord::new(starts, next(last.epoch()), position);
        start.publish();
        // Whoever stopped before that store does not make another one.
        // loom: none (a fence of the compiler's alone)
        compiler_fence(SeqCst);
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
            // loom: loom_typed_ring
            fence(SeqCst);
        }
        self.check_size().map_err(|corrupt| {
            if is_new && claim.is_ours() {
                own.store(0, Relaxed); // relaxed: as it was.
            }
            claim.release();
            ClaimError::Corrupt(corrupt)
        })
    }

    /// The producer whose records a consumer finds at `position`, where the one before it read
    /// those of the producer `known`; for commands the latest one.
    fn first_producer(&self, known: u32, position: u32, on_restart: OnRestart) -> u32 {
        let starts = self.control.producer_starts();
        if on_restart == OnRestart::Discard {
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
                    0 => previous(start.epoch()),
                    _ => peer,
                };
            }
            peer = start.epoch();
        }
        peer
    }
}
