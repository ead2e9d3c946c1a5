//! Claims and takes over the ends of a typed ring.

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

/// The state that a claimant finds.
struct Found {
    progress: Progress,
    /// The start of the last claimant of this end.
    start: Stamp,
    /// The other end's epoch: of the latest consumer, or of the producer whose records were
    /// read last.
    peer: u32,
}

impl<'m, T> TypedRing<'m, T> {
    /// Claims the producing end for `incarnation`, and resumes where the producer
    /// before it stopped. Takes over the end if an earlier incarnation of the same partition
    /// has it.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Claimed`] if another partition has the end, or this incarnation itself, or
    /// a later one. If the holder is gone, call [`TypedRing::take_over_producer`].
    /// [`ClaimError::Corrupt`] if the words in memory are not those of a typed ring, or if the
    /// other end was claimed at the same time for records of another size.
    pub fn claim_producer(
        self,
        incarnation: Incarnation,
    ) -> Result<TypedProducer<'m, T>, ClaimError> {
        End::new(self.control.producer_claim()).check(incarnation)?;
        self.take_over_producer(incarnation)
    }

    /// Claims the producing end as [`TypedRing::claim_producer`] does, in place of an incarnation
    /// that is gone. If it is not gone, its next call returns
    /// [`PushError::Evicted`](super::PushError::Evicted).
    ///
    /// An incarnation that takes over its own end restarts that end: for the peer it is
    /// another producer. Do not use the earlier handle again: its claim has the same value, so
    /// it cannot detect the takeover.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Claimed`] if another incarnation claims the end at the same time.
    /// [`ClaimError::Corrupt`] as [`TypedRing::claim_producer`]: then the claim is unchanged, or
    /// released if the ring became corrupt after the claim was stored.
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

    /// Claims the consuming end for `incarnation`, and resumes where the consumer
    /// before it stopped. Records that it had not released are delivered again or discarded,
    /// depending on `on_restart`.
    ///
    /// # Errors
    ///
    /// As [`TypedRing::claim_producer`].
    pub fn claim_consumer(
        self,
        incarnation: Incarnation,
        on_restart: OnRestart,
    ) -> Result<TypedConsumer<'m, T>, ClaimError> {
        End::new(self.control.consumer_claim()).check(incarnation)?;
        self.take_over_consumer(incarnation, on_restart)
    }

    /// Claims the consuming end as [`TypedRing::claim_consumer`] does, in place of an incarnation
    /// that is gone. The warnings of [`TypedRing::take_over_producer`] apply.
    ///
    /// # Errors
    ///
    /// As [`TypedRing::take_over_producer`].
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
        // relaxed: if the end is reclaimed, we stored it ourselves.
        let accepted = self.control.accepted().word(epoch).load(Relaxed);
        consumer.filters &= !acquired.reclaimed || accepted != Stamp::new(epoch, peer).0;
        Ok(consumer)
    }

    /// Returns the incarnation that has the producing end; `None` if none has it now.
    pub fn producer_owner(&self) -> Option<Incarnation> {
        End::new(self.control.producer_claim()).holder()
    }

    /// Returns the incarnation that has the consuming end; `None` if none has it now.
    pub fn consumer_owner(&self) -> Option<Incarnation> {
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

    /// Stores and returns our start at `position`, among the end's `starts`. A claimant stores it
    /// first, so that the next claimant takes another epoch (P5).
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
        // Keeps later checks of the claim after this store: an evicted claimant that was stopped
        // before it stores nothing more.
        // loom: none (a fence of the compiler's alone)
        compiler_fence(SeqCst);
        start
    }

    /// Stores the size of our records into `own`, the word of our end, and checks that of the
    /// other end.
    fn agree_on_size(&self, claim: &Claim<'m>, own: Word<'m>) -> Result<(), ClaimError> {
        // relaxed: only the holder of the end stores it.
        let is_new = own.load(Relaxed) == 0 && claim.is_ours();
        if is_new {
            self.store_size(own);
            // Orders the store of our size before the load of the other end's: if two ends are
            // claimed at once with different sizes, at least one detects it.
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

    /// Returns the epoch of the producer whose records a consumer finds at `position`; `known` is
    /// the one whose records the consumer before it read. For `Discard` it is the latest producer.
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
                // Its records come later. Those at `position` are from a producer before it.
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
