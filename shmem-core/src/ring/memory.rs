//! A ring in a segment: its control words and its data.

use core::mem::size_of;

use memoffset::offset_of;

use super::error::GeometryError;
use crate::layout::{RingControl, MAX_CAPACITY, MIN_CAPACITY, RECORD_HEADER};
use crate::mem::{CircularWindow, StructWindow, Window, Word};

const CONTROL: usize = size_of::<RingControl>();

/// Whether code is small rather than fast: no expected headers, no pacing, less inlining.
pub(super) const SMALL: bool = cfg!(feature = "small");

/// A ring in a segment, before one of its ends is claimed.
#[derive(Clone, Copy)]
pub struct Ring<'m> {
    pub(super) control: StructWindow<'m, RingControl>,
    pub(super) data: CircularWindow<'m>,
}

impl<'m> Ring<'m> {
    /// Returns the length in bytes of a segment for a ring of `capacity` bytes.
    pub const fn segment_len(capacity: usize) -> usize {
        CONTROL + capacity
    }

    /// Returns the ring in `segment`. A zeroed segment is an empty ring, so there is
    /// nothing to create. The segment's length determines the capacity.
    ///
    /// # Errors
    ///
    /// [`GeometryError`] if the segment is not as long as a control block and a power of
    /// two between 64 bytes and 1 GiB.
    pub fn attach(segment: Window<'m>) -> Result<Self, GeometryError> {
        let error = GeometryError { len: segment.len() };
        let capacity = segment.len().checked_sub(CONTROL).ok_or(error)?;
        let data = segment.sub(CONTROL, capacity).map_err(|_| error)?;
        // It checks that the capacity is a power of two.
        let data = CircularWindow::new(data).ok_or(error)?;
        if !(MIN_CAPACITY..=MAX_CAPACITY).contains(&capacity) {
            return Err(error);
        }
        let control = StructWindow::new(segment).map_err(|_| error)?;
        Ok(Self { control, data })
    }

    /// Returns the length of the data area in bytes.
    pub fn capacity(&self) -> usize {
        self.data.len() as usize
    }

    /// Returns the length in bytes of the longest record: one that fits into an empty ring at every
    /// position of the producer (R4, R5).
    pub fn max_record(&self) -> usize {
        self.capacity() / 2 - 2 * RECORD_HEADER
    }

    #[inline(always)]
    pub(super) fn control_word(&self, offset: usize) -> Word<'m> {
        self.control.word(offset)
    }

    #[inline(always)]
    pub(super) fn producer_epoch(&self) -> Word<'m> {
        self.control_word(offset_of!(RingControl, producer_epoch))
    }

    #[inline(always)]
    pub(super) fn consumer_epoch(&self) -> Word<'m> {
        self.control_word(offset_of!(RingControl, consumer_epoch))
    }

    pub(super) fn discarded(&self) -> Word<'m> {
        self.control_word(offset_of!(RingControl, discarded))
    }

    pub(super) fn tail(&self) -> Word<'m> {
        self.control_word(offset_of!(RingControl, tail))
    }

    pub(super) fn head(&self) -> Word<'m> {
        self.control_word(offset_of!(RingControl, head))
    }

    pub(super) fn position(&self) -> Word<'m> {
        self.control_word(offset_of!(RingControl, position))
    }

    /// Returns the position of the payload of the record at `position`.
    #[inline(always)]
    pub(super) fn payload(position: u32) -> u32 {
        position.wrapping_add(RECORD_HEADER as u32)
    }
}
