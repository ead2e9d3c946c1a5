//! The errors of the calls on a registry.

use core::fmt;

use shmem_core::Corrupt;

use crate::evicted::Evicted;
use crate::id::{Kind, Name};

/// Why a registry could not be formatted or attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryError {
    /// A size in the [`crate::Geometry`] is out of range.
    Geometry,
    /// The region has no room for the tables and one block.
    TooShort {
        /// Bytes of the region.
        len: usize,
        /// Bytes of the tables alone.
        tables: usize,
    },
    /// The region has no registry yet.
    NotFormatted,
    /// The region has a registry already.
    Exists,
    /// The geometry word is invalid.
    Corrupt(Corrupt),
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Geometry => f.write_str(
                "a registry has 2 to 2^16 segments, 1 to 128 partitions, and blocks of 128 bytes \
                 to 1 MiB; the segments and the block size must be powers of two",
            ),
            Self::TooShort { len, tables } => write!(
                f,
                "a region of {len} bytes is too short for a registry with {tables} bytes of \
                 tables: use fewer segments or a longer region"
            ),
            Self::NotFormatted => f.write_str("the region has no registry: format one first"),
            Self::Exists => {
                f.write_str("the region has a registry already: format the region first")
            }
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

/// Why a walk along a chain has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WalkError {
    /// The chain changed under every attempt.
    Contended,
    /// Another partition has taken the row from the caller.
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

/// Why a segment was not opened or created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// No segment has the identifier.
    NotFound,
    /// The segment has another kind of content.
    Kind {
        /// The kind of the segment that was found.
        found: Kind,
    },
    /// The segment has another length.
    Length {
        /// The length in bytes of the segment that was found.
        found: usize,
    },
    /// Another name has the same identifier.
    Collision {
        /// The name of the segment that was found.
        found: Name,
    },
    /// Every row is in use.
    TableFull {
        /// The number of rows.
        segments: usize,
    },
    /// The call needs rows or blocks that another partition holds while it creates or removes a
    /// segment: try again. If that partition has died, [`crate::Registry::reap`] releases them.
    Contended,
    /// Another incarnation has taken the caller's place, or another partition has reaped the row
    /// that the caller was creating. Other partitions remove the half-created segment.
    Evicted,
    /// The region was formatted again since the handle was made.
    Reformatted,
    /// There is no such segment, and the handle may not create one:
    /// [`crate::Registry::without_read_modify_write`].
    NoReadModifyWrite,
    /// No run of free blocks is long enough.
    OutOfSpace {
        /// Bytes requested.
        len: usize,
    },
    /// A partition broke the protocol.
    Corrupt(Corrupt),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no segment has this identifier"),
            Self::Kind { found } => write!(f, "the segment is of another kind: {found}"),
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
                "another partition is creating or removing a segment and holds the rows or blocks \
                 that are left: try again; if that does not help, call Registry::reap",
            ),
            Self::Evicted => Evicted.fmt(f),
            Self::Reformatted => f.write_str(REFORMATTED),
            Self::NoReadModifyWrite => f.write_str(
                "there is no such segment, and none can be created without compare-and-swap: \
                 create it in a partition that has compare-and-swap, before the others attach",
            ),
            Self::OutOfSpace { len } => {
                write!(f, "the region has no {len} free bytes in one piece")
            }
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

impl From<WalkError> for OpenError {
    fn from(error: WalkError) -> Self {
        match error {
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

/// Why a handle may not change the table.
pub(crate) enum MayNotChange {
    NoReadModifyWrite,
    Reformatted,
}

pub(crate) const REFORMATTED: &str =
    "the region was formatted again: attach again to it and to its registry";

/// Why a segment was not removed, or why not all rows of dead partitions were reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveError {
    /// The segment was removed before.
    Stale,
    /// The segment belongs to another registry, or was opened before the region was formatted.
    Foreign,
    /// Another incarnation has taken the caller's place, or another partition has reaped the row
    /// that the caller was working on.
    Evicted,
    /// The region was formatted again since the handle was made.
    Reformatted,
    /// The table changed under every attempt: try again.
    Contended,
    /// The handle may not change the table: [`crate::Registry::without_read_modify_write`].
    NoReadModifyWrite,
    /// A partition broke the protocol.
    Corrupt(Corrupt),
}

impl fmt::Display for RemoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale => f.write_str("the segment was removed before: look it up again"),
            Self::Foreign => f.write_str("the segment belongs to another registry"),
            Self::Evicted => Evicted.fmt(f),
            Self::Reformatted => f.write_str(REFORMATTED),
            Self::Contended => f.write_str("the table changed under every attempt: try again"),
            Self::NoReadModifyWrite => f.write_str(
                "segments cannot be removed without compare-and-swap: remove it in a partition \
                 that has compare-and-swap, while the others are detached",
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
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Contended => Self::Contended,
            WalkError::Evicted => Self::Evicted,
            WalkError::Corrupt(corrupt) => Self::Corrupt(corrupt),
        }
    }
}

#[cfg(feature = "std")]
mod std_error {
    impl std::error::Error for super::RegistryError {}
    impl std::error::Error for super::OpenError {}
    impl std::error::Error for super::RemoveError {}
}
