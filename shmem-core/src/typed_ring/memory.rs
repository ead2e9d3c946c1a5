//! A typed ring in a segment: its control words and its slots.

use core::mem::size_of;

use super::control::{Control, CONTROL};
use super::error::AttachError;
use crate::error::{ControlWord, Corrupt};
use crate::layout::{MAX_SLOTS, MAX_TYPED_RECORD, MIN_SLOTS};
use crate::mem::{Slots, StructWindow, Window, Word};
use crate::primitive::Ordering::Relaxed;

/// Whether code is small rather than fast: no pacing, no fetching ahead.
pub(super) const SMALL: bool = cfg!(feature = "small");

/// A ring of records of type `T` in a segment, before one of its ends is claimed.
///
/// The bytes of a record are copied unchanged: use little-endian fields if the peer may be
/// another machine.
pub struct TypedRing<'m, T> {
    pub(super) control: Control<'m>,
    pub(super) slots: Slots<'m, T>,
}

impl<T> Clone for TypedRing<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for TypedRing<'_, T> {}

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

    /// Returns the length in bytes of a segment for `slots` records, a power of two from 2 to
    /// 32768.
    pub const fn segment_len(slots: usize) -> usize {
        CONTROL + slots * Slots::<T>::STRIDE
    }

    /// Returns the ring in `segment`. A zeroed segment is an empty ring, so there is nothing to
    /// create. The type and the segment's length determine the number of slots.
    ///
    /// # Errors
    ///
    /// [`AttachError::Geometry`] if the segment is not as long as a control block and a power of
    /// two of slots. [`AttachError::RecordSize`] if an end was claimed for records of another
    /// size.
    pub fn attach(segment: Window<'m>) -> Result<Self, AttachError> {
        let error = AttachError::Geometry {
            len: segment.len(),
            slot: Slots::<T>::STRIDE,
        };
        let bytes = segment.len().checked_sub(CONTROL).ok_or(error)?;
        let data = segment.sub(CONTROL, bytes).map_err(|_| error)?;
        let ring = Self {
            control: Control(StructWindow::new(segment).map_err(|_| error)?),
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

    /// Returns the number of slots.
    pub fn slots(&self) -> usize {
        self.slots.len() as usize
    }

    /// Checks that the record sizes which the ends have stored are that of the type.
    pub(super) fn check_size(&self) -> Result<(), Corrupt> {
        for word in [self.control.producer_size(), self.control.consumer_size()] {
            // relaxed: the sizes order nothing; `agree_on_size` handles two ends that are claimed
            // at once.
            let value = word.load(Relaxed);
            if value != 0 && value != Self::SIZE {
                let word = ControlWord::RecordSize;
                return Err(Corrupt { word, value });
            }
        }
        Ok(())
    }

    /// Stores the size of our records into `own`, the word of our end.
    pub(super) fn store_size(&self, own: Word<'m>) {
        // relaxed: the caller's fence orders it.
        own.store(Self::SIZE, Relaxed);
    }
}
