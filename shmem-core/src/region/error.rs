//! The error of attaching to a region.

use core::fmt;

use crate::layout::{LINE, VERSION};

/// Why memory is not a region that can be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// The memory has no room for a header and a line.
    TooShort {
        /// Bytes of the memory.
        len: usize,
    },
    /// The first word is not the magic.
    NotARegion {
        /// The first word.
        magic: u32,
    },
    /// This library does not know the layout version.
    Version {
        /// The region's version.
        found: u32,
    },
    /// The region needs features that this library does not know.
    Features {
        /// The bits of these features.
        unknown: u32,
    },
    /// The header's length is not that of a region in this memory.
    Length {
        /// The length in the header.
        length: u64,
        /// Bytes that are mapped.
        mapped: usize,
    },
    /// A partition formatted the memory during every attempt to read the header.
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
                "not a region: its first word is {magic:#010x}; \
                 format it first, wait until it is formatted, or check the address"
            ),
            Self::Version { found } => write!(
                f,
                "the region has layout version {found}, this library has {VERSION}: \
                 use the same release on both sides"
            ),
            Self::Features { unknown } => write!(
                f,
                "the region needs features that this library does not know ({unknown:#x}): \
                 use a newer release"
            ),
            Self::Length { length, mapped } => write!(
                f,
                "the region has {length} bytes, but {mapped} are mapped: map all of it"
            ),
            Self::BeingFormatted => f.write_str(
                "the region is being formatted: try again later; if this persists, check which \
                 partition formats it",
            ),
        }
    }
}

#[cfg(feature = "std")]
impl std::error::Error for AttachError {}
