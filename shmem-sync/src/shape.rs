//! The shape of what a lock protects: its size and alignment.

use core::fmt;
use core::mem::{align_of, size_of};

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
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes aligned to {}", self.size(), self.align())
    }
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
