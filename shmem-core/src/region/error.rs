//! Why memory is not a region that can be attached.

use core::fmt;

use crate::layout::{LINE, VERSION};

/// Why memory is not a region that can be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// No room for a header and a line.
    TooShort {
        /// Bytes there are.
        len: usize,
    },
    /// The first word is not the magic.
    NotARegion {
        /// What it is.
        magic: u32,
    },
    /// A layout version that this library does not know.
    Version {
        /// The region's.
        found: u32,
    },
    /// Features that this library does not know.
    Features {
        /// Their bits.
        unknown: u32,
    },
    /// The header's length is not that of a region in this memory.
    Length {
        /// What the header says.
        length: u64,
        /// Bytes that are mapped.
        mapped: usize,
    },
    /// A partition formatted it, again and again, while its header was read.
    BeingFormatted,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { len } => write!(
                f,
                "{len} bytes are too few for a region: give it at least {}",
                2 * LINE
            ),
            Self::NotARegion { magic } => write!(
                f,
                "not a region: its first word is {magic:#010x}; format it first, wait until it is formatted, or check the address"
            ),
            Self::Version { found } => write!(
                f,
                "the region has layout version {found}, this library speaks {VERSION}: \
                 use the same release on both sides"
            ),
            Self::Features { unknown } => write!(
                f,
                "the region needs features this library does not know ({unknown:#x}): use a newer one"
            ),
            Self::Length { length, mapped } => write!(
                f,
                "the region says it has {length} bytes, but {mapped} are mapped: map all of it"
            ),
            Self::BeingFormatted => f.write_str(
                "the region is being formatted: try again when that is done, and look who does it",
            ),
        }
    }
}

#[cfg(feature = "std")]
impl std::error::Error for AttachError {}
