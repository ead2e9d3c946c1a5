//! Why a partition cannot use a bakery.

use core::fmt;

use shmem_core::mem::OutOfWindow;

/// A segment, or a partition, that a bakery has no room in or for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BakeryAttachError {
    /// The segment is shorter than what stands in front of the protected bytes.
    Segment(OutOfWindow),
    /// The partition is not one of those that take part.
    Partition {
        /// Its number.
        partition: u8,
        /// The largest number that takes part.
        limit: u8,
    },
}

impl From<OutOfWindow> for BakeryAttachError {
    fn from(error: OutOfWindow) -> Self {
        Self::Segment(error)
    }
}

impl fmt::Display for BakeryAttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(error) => error.fmt(f),
            Self::Partition { partition, limit } => write!(
                f,
                "partition {partition} does not take part: partitions 1 to {limit} do"
            ),
        }
    }
}

#[cfg(feature = "std")]
impl std::error::Error for BakeryAttachError {}
