//! What a lock protects, and how those that attach agree on it.

use core::fmt;
use core::mem::{align_of, size_of};

use bytemuck::Pod;
use shmem_core::mem::Word;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::Window;

use crate::error::AttachError;

/// Bits of the size in the word of a shape.
const SIZE_BITS: u32 = 28;

/// Size and alignment of a value that a lock protects.
///
/// In memory it is one word, `protects`: bits 0 to 27 the size in bytes, bits 28 to 31
/// the binary logarithm of the alignment; 0 if nobody has said what the lock protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape(u32);

impl Shape {
    /// Nobody has said what the lock protects; also the shape of a value of no bytes.
    pub const UNSAID: Self = Self(0);

    /// The shape of a `T`.
    ///
    /// # Panics
    ///
    /// If `T` has 256 MiB or more, or an alignment of more than 32 KiB; while compiling,
    /// where a lock protects it.
    pub const fn of<T>() -> Self {
        let (size, align) = (size_of::<T>(), align_of::<T>().trailing_zeros());
        assert!(size < 1 << SIZE_BITS && align < 16, "too large for a lock");
        Self(align << SIZE_BITS | size as u32)
    }

    /// The shape in a word: every word has one.
    pub const fn from_word(word: u32) -> Self {
        Self(word)
    }

    /// The shape as a word.
    pub const fn word(self) -> u32 {
        self.0
    }

    /// Bytes of the value.
    pub const fn size(self) -> usize {
        (self.0 & ((1 << SIZE_BITS) - 1)) as usize
    }

    /// What its address would be a multiple of.
    pub const fn align(self) -> usize {
        1 << (self.0 >> SIZE_BITS)
    }

    /// An error if `found` is of another value.
    pub(crate) fn check(self, found: u32) -> Result<(), AttachError> {
        match found == 0 || found == self.0 {
            true => Ok(()),
            false => Err(AttachError::Shape {
                found: Self(found),
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
        match protects.compare_exchange(0, self.0, Relaxed, Relaxed) {
            Ok(_) => Ok(()),
            Err(found) => self.check(found),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes aligned to {}", self.size(), self.align())
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_shape_comes_back_from_its_word() {
        for (shape, size, align) in [
            (Shape::of::<u8>(), 1, 1),
            (Shape::of::<[u8; 13]>(), 13, 1),
            (Shape::of::<[u64; 3]>(), 24, 8),
        ] {
            let shape = Shape::from_word(shape.word());
            assert_eq!((shape.size(), shape.align()), (size, align));
        }
        assert_eq!(Shape::of::<()>(), Shape::UNSAID);
    }

    #[test]
    fn types_of_one_length_in_the_segment_are_told_apart() {
        assert_ne!(Shape::of::<[u8; 13]>(), Shape::of::<[u8; 16]>());
        assert_ne!(Shape::of::<[u8; 8]>(), Shape::of::<u64>());
    }
}
