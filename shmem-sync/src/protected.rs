//! What a lock protects, and how those that attach agree on it.

use core::mem::size_of;

use bytemuck::Pod;
use shmem_core::mem::Word;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::Window;

use crate::error::AttachError;
use crate::shape::Shape;

impl Shape {
    /// An error if `found` is of another value.
    pub(crate) fn check(self, found: u32) -> Result<(), AttachError> {
        match found == 0 || found == self.word() {
            true => Ok(()),
            false => Err(AttachError::Shape {
                found: Self::from_word(found),
                ours: self,
            }),
        }
    }

    /// Puts the shape into `protects`, unless it is unsaid; an error if another is there.
    pub(crate) fn install(self, protects: Word<'_>) -> Result<(), AttachError> {
        if self == Self::UNSAID {
            return Ok(());
        }
        // relaxed: the word stays what it is from now on, and nothing comes with it.
        match protects.compare_exchange(0, self.word(), Relaxed, Relaxed) {
            Ok(_) => Ok(()),
            Err(found) => self.check(found),
        }
    }
}

/// What a lock can protect: plain data ([`Pod`]), or bytes whose number only the
/// segment's length says.
///
/// It lies in the segment behind the lock's control block, and is copied out and in.
/// Partitions that attach with different types are told apart by size and alignment,
/// not by name; its bytes are in the order of the machine. Bytes have no shape, and those
/// that attach to them accept any.
pub trait Protected: private::Sealed {
    #[doc(hidden)]
    const SHAPE: Shape;

    /// What is behind the control block of `control` bytes.
    #[doc(hidden)]
    fn part(segment: Window<'_>, control: usize) -> Result<Window<'_>, AttachError>;
}

impl<T: Pod> Protected for T {
    const SHAPE: Shape = Shape::of::<T>();

    fn part(segment: Window<'_>, control: usize) -> Result<Window<'_>, AttachError> {
        let needed = segment_len(control, size_of::<T>());
        match segment.len() == needed {
            true => <[u8]>::part(segment, control),
            false => Err(length(segment, needed)),
        }
    }
}

impl Protected for [u8] {
    const SHAPE: Shape = Shape::UNSAID;

    fn part(segment: Window<'_>, control: usize) -> Result<Window<'_>, AttachError> {
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

/// Bytes of a segment with a control block and `data` bytes.
pub(crate) const fn segment_len(control: usize, data: usize) -> usize {
    control + data.div_ceil(8) * 8
}

/// The control block of `len` bytes at the start of `segment`.
pub(crate) fn control(segment: Window<'_>, len: usize) -> Result<Window<'_>, AttachError> {
    segment.sub(0, len).map_err(|_| length(segment, len))
}

fn length(segment: Window<'_>, needed: usize) -> AttachError {
    let segment = segment.len();
    AttachError::Length { segment, needed }
}
