//! The shape of what a lock protects: its size and alignment.

use core::fmt;
use core::mem::{align_of, size_of};

/// Bits of the size in the word of a shape.
const SIZE_BITS: u32 = 28;

/// The largest alignment that shapes distinguish: machines and compilers align 8-byte and 16-byte
/// numbers differently (32-bit x86 aligns `u64` to 4).
const MAX_ALIGN: usize = 4;

/// Size and alignment of a value that a lock protects.
///
/// In memory it is one word, `protects`. Bits 0 to 27 are the size in bytes, bits 28 to 31 the
/// binary logarithm of the alignment; an alignment above 4 counts as 4. The word is 0 if no
/// partition has declared what the lock protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape(u32);

impl Shape {
    /// No partition has declared what the lock protects; also the shape of a value of no bytes.
    pub const UNDECLARED: Self = Self(0);

    /// Returns the shape of a `T`.
    ///
    /// # Panics
    ///
    /// If `T` has 256 MiB or more. For a type that a lock protects, this is a compile error.
    pub const fn new<T>() -> Self {
        let (size, align) = (size_of::<T>(), align_of::<T>());
        assert!(size < 1 << SIZE_BITS, "too large for a lock");
        if size == 0 {
            return Self::UNDECLARED;
        }
        let align = if align < MAX_ALIGN { align } else { MAX_ALIGN };
        Self(align.trailing_zeros() << SIZE_BITS | size as u32)
    }

    /// Returns the shape in a word: every word has one.
    pub const fn from_word(word: u32) -> Self {
        Self(word)
    }

    /// Returns the shape as a word.
    pub const fn word(self) -> u32 {
        self.0
    }

    /// Returns the size of the value in bytes.
    pub const fn size(self) -> usize {
        (self.0 & ((1 << SIZE_BITS) - 1)) as usize
    }

    /// Returns the alignment of the value; an alignment above 4 counts as 4.
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
    fn a_shape_decodes_from_its_word() {
        for (shape, size, align) in [
            (Shape::new::<u8>(), 1, 1),
            (Shape::new::<[u8; 13]>(), 13, 1),
            (Shape::new::<[u16; 3]>(), 6, 2),
            (Shape::new::<[u64; 3]>(), 24, 4), // On every machine.
            (Shape::new::<u128>(), 16, 4),
        ] {
            let shape = Shape::from_word(shape.word());
            assert_eq!((shape.size(), shape.align()), (size, align));
        }
        assert_eq!(Shape::new::<()>(), Shape::UNDECLARED);
        assert_eq!(Shape::new::<[u64; 0]>(), Shape::UNDECLARED);
    }

    #[test]
    fn types_with_the_same_segment_length_have_different_shapes() {
        assert_ne!(Shape::new::<[u8; 13]>(), Shape::new::<[u8; 16]>());
        assert_ne!(Shape::new::<[u8; 8]>(), Shape::new::<u64>());
    }
}
