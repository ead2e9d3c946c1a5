//! The control words of a typed ring, independent of the type of its records.

use core::mem::size_of;

use memoffset::offset_of;

use super::stamp::{distance, EpochWords};
use crate::doorbell::{Ringer, Sleeper};
use crate::error::{ControlWord, Corrupt};
use crate::layout::{Bell, TypedRingControl};
use crate::mem::{StructWindow, Word};

/// Bytes of a control block.
pub(super) const CONTROL: usize = size_of::<TypedRingControl>();

/// Attempts to load the positions before they are reported as corrupt: a ring in use advances
/// between the loads of one attempt.
const ATTEMPTS: usize = 16;

/// A control block.
#[derive(Clone, Copy)]
pub(super) struct Control<'m>(pub(super) StructWindow<'m, TypedRingControl>);

/// The positions of both ends in memory.
#[derive(Clone, Copy)]
pub(super) struct Progress {
    /// Position after the last record.
    pub(super) tail: u32,
    /// Position of the first record not released.
    pub(super) position: u32,
    /// The epoch of the consumer that stored `position`.
    pub(super) reader: u32,
    /// Position up to which the producer may reuse slots.
    pub(super) head: u32,
}

impl<'m> Control<'m> {
    /// Loads the positions of both ends and checks them.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] with the word that no honest partition stores.
    pub(super) fn progress(self, slots: u32) -> Result<Progress, Corrupt> {
        let mut attempt = 1;
        loop {
            // Loaded in this order, each is at least the one before it, even while both ends
            // advance.
            let [head, position, tail] =
                [self.heads(), self.positions(), self.tails()].map(EpochWords::latest);
            let progress = Progress {
                tail: tail.position(),
                position: position.position(),
                reader: position.epoch(),
                head: head.position(),
            };
            let Progress {
                tail: end,
                position: at,
                head: given,
                ..
            } = progress;
            // P2.
            let backlog = distance(given, end);
            if backlog <= slots && distance(given, at) <= backlog {
                return Ok(progress);
            }
            if attempt == ATTEMPTS {
                let (word, value) = match backlog <= slots {
                    true => (ControlWord::Position, position.0),
                    false => (ControlWord::Tail, tail.0),
                };
                return Err(Corrupt { word, value });
            }
            attempt += 1;
        }
    }

    fn word(self, offset: usize) -> Word<'m> {
        self.0.word(offset)
    }

    fn words(self, offset: usize) -> EpochWords<'m> {
        EpochWords([0, 4, 8, 12].map(|at| self.word(offset + at)))
    }

    pub(super) fn tails(self) -> EpochWords<'m> {
        self.words(offset_of!(TypedRingControl, tails))
    }

    pub(super) fn producer_starts(self) -> EpochWords<'m> {
        self.words(offset_of!(TypedRingControl, producer_starts))
    }

    pub(super) fn addressed(self) -> EpochWords<'m> {
        self.words(offset_of!(TypedRingControl, addressed))
    }

    pub(super) fn heads(self) -> EpochWords<'m> {
        self.words(offset_of!(TypedRingControl, heads))
    }

    pub(super) fn consumer_starts(self) -> EpochWords<'m> {
        self.words(offset_of!(TypedRingControl, consumer_starts))
    }

    pub(super) fn positions(self) -> EpochWords<'m> {
        self.words(offset_of!(TypedRingControl, positions))
    }

    pub(super) fn known_producers(self) -> EpochWords<'m> {
        self.words(offset_of!(TypedRingControl, known_producers))
    }

    pub(super) fn accepted(self) -> EpochWords<'m> {
        self.words(offset_of!(TypedRingControl, accepted))
    }

    pub(super) fn producer_claim(self) -> Word<'m> {
        self.word(offset_of!(TypedRingControl, producer))
    }

    pub(super) fn consumer_claim(self) -> Word<'m> {
        self.word(offset_of!(TypedRingControl, consumer))
    }

    pub(super) fn producer_size(self) -> Word<'m> {
        self.word(offset_of!(TypedRingControl, producer_record_size))
    }

    pub(super) fn consumer_size(self) -> Word<'m> {
        self.word(offset_of!(TypedRingControl, consumer_record_size))
    }

    pub(super) fn discarded(self) -> EpochWords<'m> {
        self.words(offset_of!(TypedRingControl, discarded))
    }

    /// Returns both sides of the doorbell for records.
    pub(super) fn records(self) -> (Ringer<'m>, Sleeper<'m>) {
        sides(self.0.part(offset_of!(TypedRingControl, records)))
    }

    /// Returns both sides of the doorbell for space.
    pub(super) fn space(self) -> (Ringer<'m>, Sleeper<'m>) {
        sides(self.0.part(offset_of!(TypedRingControl, space)))
    }
}

fn sides(bell: StructWindow<'_, Bell>) -> (Ringer<'_>, Sleeper<'_>) {
    (Ringer::new(bell), Sleeper::new(bell))
}
