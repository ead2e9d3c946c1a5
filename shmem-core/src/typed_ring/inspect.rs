//! Inspects a typed ring from a third partition: with loads only, whatever the ring contains
//! and without the type of its records.

use super::control::Control;
use super::stamp::{distance, EpochWords};
use crate::incarnation::Incarnation;
use crate::mem::{OutOfWindow, StructWindow, Window, Word};
use crate::primitive::Ordering::Relaxed;

/// The state of a typed ring. The words of a ring in use change while they are loaded, so they
/// may be inconsistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Bytes of a record, stored by the producer, or else by the consumer; 0 if neither has
    /// claimed its end yet.
    pub record_size: u32,
    /// Position after the last record, modulo 2^16.
    pub tail: u16,
    /// Position of the first record not released.
    pub position: u16,
    /// Position up to which the producer may reuse slots.
    pub head: u16,
    /// The producing end.
    pub producer: Claim,
    /// The consuming end.
    pub consumer: Claim,
    /// Records that consumers discarded, modulo 2^32.
    pub discarded: u32,
}

/// The claim of an end of a typed ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The word: an incarnation, with [`Incarnation::FLAG`] if it released the end; 0 if the end
    /// was never claimed.
    pub word: u32,
    /// The epoch of the end.
    pub epoch: u16,
}

impl Claim {
    fn load(word: Word<'_>, starts: EpochWords<'_>) -> Self {
        Self {
            // relaxed: for inspection; it may have changed since.
            word: word.load(Relaxed),
            epoch: starts.latest().epoch() as u16,
        }
    }

    /// Returns the incarnation that holds the end, or held it last; `None` if the word does
    /// not contain one.
    pub fn incarnation(&self) -> Option<Incarnation> {
        Incarnation::from_word(self.word)
    }

    /// Returns true if the end is claimed and not released.
    pub fn is_held(&self) -> bool {
        self.word != 0 && self.word & Incarnation::FLAG == 0
    }
}

impl Inspection {
    /// Loads the state of the typed ring in `segment`. Only loads.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if the segment is shorter than a control block.
    pub fn new(segment: Window<'_>) -> Result<Self, OutOfWindow> {
        let control = Control(StructWindow::new(segment)?);
        let reader = control.positions().latest();
        // relaxed in all of this: for inspection; it may have changed since.
        let load = |word: Word<'_>| word.load(Relaxed);
        let sizes = [control.producer_size(), control.consumer_size()].map(load);
        Ok(Self {
            record_size: sizes.into_iter().find(|&size| size != 0).unwrap_or(0),
            tail: control.tails().latest().position() as u16,
            position: reader.position() as u16,
            head: control.heads().latest().position() as u16,
            producer: Claim::load(control.producer_claim(), control.producer_starts()),
            consumer: Claim::load(control.consumer_claim(), control.consumer_starts()),
            discarded: load(control.discarded().word(reader.epoch())),
        })
    }

    /// Returns the number of records that were published and not released.
    pub fn backlog(&self) -> u16 {
        distance(self.position.into(), self.tail.into()) as u16
    }
}
