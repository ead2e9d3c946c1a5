//! A typed ring in a segment: its control words and its slots.

use core::mem::size_of;

use memoffset::offset_of;

use super::error::AttachError;
use super::stamp::{distance, EpochWords};
use crate::doorbell::{Ringer, Sleeper};
use crate::error::{ControlWord, Corrupt};
use crate::layout::{TypedRingControl, LINE, MAX_SLOTS, MAX_TYPED_RECORD, MIN_SLOTS};
use crate::mem::{Slots, Window, Word};
use crate::primitive::Ordering::Relaxed;

const CONTROL: usize = size_of::<TypedRingControl>();

/// Code that is small rather than fast: no pacing, no fetching ahead.
pub(super) const SMALL: bool = cfg!(feature = "small");

/// Looks at an end's words before they are said to be corrupt: a ring in use moves between
/// the loads of one look.
const ATTEMPTS: usize = 16;

/// A ring of records of type `T` in a segment, before one of its ends is claimed.
///
/// Byte order is the type's own affair: use little-endian fields where the peer may be another
/// machine.
pub struct TypedRing<'m, T> {
    pub(super) control: Window<'m>,
    pub(super) slots: Slots<'m, T>,
}

impl<T> Clone for TypedRing<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for TypedRing<'_, T> {}

/// Where both ends are, as the words in memory have it.
#[derive(Clone, Copy)]
pub(super) struct Progress {
    /// Position after the last record.
    pub(super) tail: u32,
    /// Position of the first record not released.
    pub(super) position: u32,
    /// The epoch of the consumer that stored it.
    pub(super) reader: u32,
    /// Position up to which slots were given back.
    pub(super) head: u32,
}

impl<'m, T> TypedRing<'m, T> {
    /// Bytes of a record.
    const SIZE: u32 = {
        assert!(size_of::<T>() != 0, "a record without bytes");
        assert!(
            size_of::<T>() <= MAX_TYPED_RECORD,
            "a record that is too long"
        );
        size_of::<T>() as u32
    };

    /// Bytes a segment needs for a ring of `slots` records, a power of two from 2 to 32768.
    pub const fn segment_len(slots: usize) -> usize {
        CONTROL + slots * Slots::<T>::STRIDE
    }

    /// The ring in `segment`. A zeroed segment is an empty ring, so there is nothing to create;
    /// the type and the segment's length alone give the slots.
    ///
    /// # Errors
    ///
    /// [`AttachError::Geometry`] if the segment is not a control block and a power of two of
    /// slots, [`AttachError::RecordSize`] if its ends were claimed for records of another size.
    pub fn attach(segment: Window<'m>) -> Result<Self, AttachError> {
        let error = AttachError::Geometry {
            len: segment.len(),
            slot: Slots::<T>::STRIDE,
        };
        let bytes = segment.len().checked_sub(CONTROL).ok_or(error)?;
        let data = segment.sub(CONTROL, bytes).map_err(|_| error)?;
        let ring = Self {
            control: segment.sub(0, CONTROL).map_err(|_| error)?,
            slots: Slots::new(data).ok_or(error)?,
        };
        if !(MIN_SLOTS..=MAX_SLOTS).contains(&ring.slots()) {
            return Err(error);
        }
        ring.check_size()
            .map_err(|corrupt| AttachError::RecordSize {
                found: corrupt.value,
                expected: Self::SIZE,
            })?;
        Ok(ring)
    }

    /// How many records there is room for.
    pub fn slots(&self) -> usize {
        self.slots.len() as usize
    }

    /// Holds the size of records that either end has stored against the type's.
    pub(super) fn check_size(&self) -> Result<(), Corrupt> {
        for word in [self.producer_size(), self.consumer_size()] {
            // relaxed: the sizes are compared, and order nothing; see `agree_on_size` for two
            // ends that come at once.
            let value = word.load(Relaxed);
            if value != 0 && value != Self::SIZE {
                let word = ControlWord::RecordSize;
                return Err(Corrupt { word, value });
            }
        }
        Ok(())
    }

    /// Stores the size of our records into `own`, our end's word for it.
    pub(super) fn store_size(&self, own: Word<'m>) {
        // relaxed: the caller's fence orders it.
        own.store(Self::SIZE, Relaxed);
    }

    /// Where both ends are.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] with the word that no honest partition leaves.
    pub(super) fn progress(&self) -> Result<Progress, Corrupt> {
        let slots = self.slots.len();
        let mut attempt = 1;
        loop {
            // In this order none is behind the one before it, although both ends go on.
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
            // Slots between a head and a tail are at most all, and a position is between them.
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

    fn word(&self, offset: usize) -> Word<'m> {
        self.control.word(offset)
    }

    fn words(&self, offset: usize) -> EpochWords<'m> {
        EpochWords([0, 4, 8, 12].map(|at| self.word(offset + at)))
    }

    pub(super) fn tails(&self) -> EpochWords<'m> {
        self.words(offset_of!(TypedRingControl, tails))
    }

    pub(super) fn producer_starts(&self) -> EpochWords<'m> {
        self.words(offset_of!(TypedRingControl, producer_starts))
    }

    pub(super) fn addressed(&self) -> EpochWords<'m> {
        self.words(offset_of!(TypedRingControl, addressed))
    }

    pub(super) fn heads(&self) -> EpochWords<'m> {
        self.words(offset_of!(TypedRingControl, heads))
    }

    pub(super) fn consumer_starts(&self) -> EpochWords<'m> {
        self.words(offset_of!(TypedRingControl, consumer_starts))
    }

    pub(super) fn positions(&self) -> EpochWords<'m> {
        self.words(offset_of!(TypedRingControl, positions))
    }

    pub(super) fn known_producers(&self) -> EpochWords<'m> {
        self.words(offset_of!(TypedRingControl, known_producers))
    }

    pub(super) fn accepted(&self) -> EpochWords<'m> {
        self.words(offset_of!(TypedRingControl, accepted))
    }

    pub(super) fn producer_claim(&self) -> Word<'m> {
        self.word(offset_of!(TypedRingControl, producer))
    }

    pub(super) fn consumer_claim(&self) -> Word<'m> {
        self.word(offset_of!(TypedRingControl, consumer))
    }

    pub(super) fn producer_size(&self) -> Word<'m> {
        self.word(offset_of!(TypedRingControl, producer_record_size))
    }

    pub(super) fn consumer_size(&self) -> Word<'m> {
        self.word(offset_of!(TypedRingControl, consumer_record_size))
    }

    pub(super) fn discarded(&self) -> EpochWords<'m> {
        self.words(offset_of!(TypedRingControl, discarded))
    }

    /// The line of the bell that the consumer sleeps on.
    fn bell(&self, offset: usize) -> Window<'m> {
        let line = self.control.sub(offset, LINE);
        line.expect("a control block has its bells")
    }

    /// Both sides of the bell for records.
    pub(super) fn records(&self) -> (Ringer<'m>, Sleeper<'m>) {
        sides(self.bell(offset_of!(TypedRingControl, records)))
    }

    /// Both sides of the bell for space.
    pub(super) fn space(&self) -> (Ringer<'m>, Sleeper<'m>) {
        sides(self.bell(offset_of!(TypedRingControl, space)))
    }
}

fn sides(bell: Window<'_>) -> (Ringer<'_>, Sleeper<'_>) {
    let sides = Ringer::attach(bell).and_then(|ringer| Ok((ringer, Sleeper::attach(bell)?)));
    sides.expect("a line has room for a bell")
}
