//! What a lock protects, and how the partitions that attach agree on it.

use core::mem::size_of;

use bytemuck::Pod;
use shmem_core::mem::Word;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::Window;

use crate::error::AttachError;
use crate::shape::Shape;

impl Shape {
    /// Returns an error if `found` is the shape of another value.
    pub(crate) fn check(self, found: u32) -> Result<(), AttachError> {
        match found == 0 || found == self.word() {
            true => Ok(()),
            false => Err(AttachError::Shape {
                found: Self::from_word(found),
                ours: self,
            }),
        }
    }

    /// Stores the shape in `protects` if that is 0, unless the shape is undeclared. Returns an
    /// error if `protects` contains another.
    pub(crate) fn declare(self, protects: Word<'_>) -> Result<(), AttachError> {
        if self == Self::UNDECLARED {
            return Ok(());
        }
        // relaxed: the word does not change any more, and no other data depends on it.
        match protects.compare_exchange(0, self.word(), Relaxed, Relaxed) {
            Ok(_) => Ok(()),
            Err(found) => self.check(found),
        }
    }
}

/// What a lock can protect: plain data ([`Pod`]), or bytes whose number follows from the segment's
/// length.
///
/// The value lies in the segment after the lock's control block; reads and writes copy it. Types
/// are distinguished by size and alignment, not by name. The bytes of a value are in the order of
/// the machine. Bytes have no shape, and a partition that attaches to them accepts any shape.
pub trait Protected: private::Sealed {
    #[doc(hidden)]
    const SHAPE: Shape;

    /// Returns the window after the control block of `control` bytes.
    #[doc(hidden)]
    fn data_window(segment: Window<'_>, control: usize) -> Result<Window<'_>, AttachError>;
}

impl<T: Pod> Protected for T {
    const SHAPE: Shape = Shape::new::<T>();

    fn data_window(segment: Window<'_>, control: usize) -> Result<Window<'_>, AttachError> {
        let needed = segment_len(control, size_of::<T>());
        match segment.len() == needed {
            true => <[u8]>::data_window(segment, control),
            false => Err(length(segment, needed)),
        }
    }
}

impl Protected for [u8] {
    const SHAPE: Shape = Shape::UNDECLARED;

    fn data_window(segment: Window<'_>, control: usize) -> Result<Window<'_>, AttachError> {
        let data = segment.len().checked_sub(control);
        let data = data.and_then(|len| segment.sub(control, len).ok());
        data.ok_or(length(segment, control))
    }
}

mod private {
    pub trait Sealed {}
    impl<T: super::Pod> Sealed for T {}
    impl Sealed for [u8] {}
}

/// Returns the length of a segment with a control block and `data` bytes.
pub(crate) const fn segment_len(control: usize, data: usize) -> usize {
    control + data.div_ceil(8) * 8
}

/// Returns the control block of `len` bytes at the start of `segment`.
pub(crate) fn control(segment: Window<'_>, len: usize) -> Result<Window<'_>, AttachError> {
    segment.sub(0, len).map_err(|_| length(segment, len))
}

fn length(segment: Window<'_>, needed: usize) -> AttachError {
    let segment = segment.len();
    AttachError::Length { segment, needed }
}
