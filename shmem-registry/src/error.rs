//! What the calls on a registry can say.

use core::fmt;

use shmem_core::Corrupt;

use crate::evicted::Evicted;
use crate::id::{Kind, Name};

/// Why there is no registry in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// The numbers of a [`crate::Geometry`] are out of range.
    Geometry,
    /// The region has no room for the tables and one block.
    TooShort {
        /// Bytes of the region.
        len: usize,
        /// Bytes the tables alone take.
        tables: usize,
    },
    /// The region has no registry yet.
    NotFormatted,
    /// The region has a registry already.
    Exists,
    /// The geometry word is no geometry.
    Corrupt(Corrupt),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Geometry => f.write_str(
                "a registry takes 2 to 2^16 segments, 1 to 128 partitions, and blocks of 128 bytes \
                 to 1 MiB, all but the partitions a power of two",
            ),
            Self::TooShort { len, tables } => write!(
                f,
                "a region of {len} bytes is too short for a registry whose tables take {tables}: \
                 ask for fewer segments or a longer region"
            ),
            Self::NotFormatted => f.write_str("the region has no registry: format one first"),
            Self::Exists => f.write_str("the region has a registry already: format the region first"),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

/// Why a walk came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WalkError {
    /// The chain changed under every attempt.
    Contended,
    /// The caller was said to be gone.
    Evicted,
    Corrupt(Corrupt),
}

impl From<Evicted> for WalkError {
    fn from(_: Evicted) -> Self {
        Self::Evicted
    }
}

impl From<Corrupt> for WalkError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

/// Why a segment was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// No segment has the identifier.
    NotFound,
    /// The segment holds something else.
    Kind {
        /// What it holds.
        found: Kind,
    },
    /// The segment has another length.
    Length {
        /// Bytes it has.
        found: usize,
    },
    /// Another name has the same identifier.
    Collision {
        /// That name.
        found: Name,
    },
    /// Every row is in use.
    TableFull {
        /// How many there are.
        segments: usize,
    },
    /// Rows or blocks that it would take are held by a partition that is just
    /// creating or removing a segment: try again. What one that died there holds
    /// comes back with [`crate::Registry::reap`].
    Contended,
    /// The caller was said to be gone while it lived: what it was making is taken back.
    Evicted,
    /// The region was formatted again since the handle was made.
    Reformatted,
    /// It would have to be created, which the handle is not to do:
    /// [`crate::Registry::without_read_modify_write`].
    NoReadModifyWrite,
    /// No run of free blocks is long enough.
    OutOfSpace {
        /// Bytes asked for.
        len: usize,
    },
    /// A partition broke the protocol.
    Corrupt(Corrupt),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no segment has this identifier"),
            Self::Kind { found } => write!(f, "the segment holds something else: {found}"),
            Self::Length { found } => write!(f, "the segment has another length: {found} bytes"),
            Self::Collision { found } => write!(
                f,
                "the name {found:?} has the same identifier: choose another name"
            ),
            Self::TableFull { segments } => write!(
                f,
                "all {segments} rows of the registry are in use: format it with more"
            ),
            Self::Contended => f.write_str(
                "another partition is just creating or removing a segment and holds what is left: \
                 try again, and reap if that does not help",
            ),
            Self::Evicted => Evicted.fmt(f),
            Self::Reformatted => f.write_str(REFORMATTED),
            Self::NoReadModifyWrite => f.write_str(
                "there is no such segment, and none can be created without compare-and-swap: \
                 create it from where compare-and-swap works, before the others attach",
            ),
            Self::OutOfSpace { len } => {
                write!(f, "the region has no {len} free bytes in one piece")
            }
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

impl From<WalkError> for OpenError {
    fn from(lost: WalkError) -> Self {
        match lost {
            WalkError::Contended => Self::Contended,
            WalkError::Evicted => Self::Evicted,
            WalkError::Corrupt(corrupt) => Self::Corrupt(corrupt),
        }
    }
}

impl From<Evicted> for OpenError {
    fn from(_: Evicted) -> Self {
        Self::Evicted
    }
}

impl From<MayNotChange> for OpenError {
    fn from(reason: MayNotChange) -> Self {
        match reason {
            MayNotChange::NoReadModifyWrite => Self::NoReadModifyWrite,
            MayNotChange::Reformatted => Self::Reformatted,
        }
    }
}

/// Why a handle changes nothing.
pub(crate) enum MayNotChange {
    NoReadModifyWrite,
    Reformatted,
}

pub(crate) const REFORMATTED: &str =
    "the region was formatted again: attach to it and to its registry anew";

/// Why a segment was not removed, or not all that partitions left that are gone taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveError {
    /// The segment was removed before.
    Stale,
    /// The segment is another registry's, or from before the region was formatted.
    Foreign,
    /// The caller was said to be gone while it lived.
    Evicted,
    /// The region was formatted again since the handle was made.
    Reformatted,
    /// The table changed under every attempt: try again.
    Contended,
    /// The handle is not to change the table:
    /// [`crate::Registry::without_read_modify_write`].
    NoReadModifyWrite,
    /// A partition broke the protocol.
    Corrupt(Corrupt),
}

impl fmt::Display for RemoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale => f.write_str("the segment was removed before: look it up again"),
            Self::Foreign => f.write_str("the segment is not one of this registry's"),
            Self::Evicted => Evicted.fmt(f),
            Self::Reformatted => f.write_str(REFORMATTED),
            Self::Contended => f.write_str("the table changed under every attempt: try again"),
            Self::NoReadModifyWrite => f.write_str(
                "segments cannot be removed without compare-and-swap: do it from where \
                 compare-and-swap works, while the others are detached",
            ),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

impl From<Evicted> for RemoveError {
    fn from(_: Evicted) -> Self {
        Self::Evicted
    }
}

impl From<MayNotChange> for RemoveError {
    fn from(reason: MayNotChange) -> Self {
        match reason {
            MayNotChange::NoReadModifyWrite => Self::NoReadModifyWrite,
            MayNotChange::Reformatted => Self::Reformatted,
        }
    }
}

impl From<WalkError> for RemoveError {
    fn from(lost: WalkError) -> Self {
        match lost {
            WalkError::Contended => Self::Contended,
            WalkError::Evicted => Self::Evicted,
            WalkError::Corrupt(corrupt) => Self::Corrupt(corrupt),
        }
    }
}

#[cfg(feature = "std")]
mod std_error {
    impl std::error::Error for super::FormatError {}
    impl std::error::Error for super::OpenError {}
    impl std::error::Error for super::RemoveError {}
}
