//! The errors of the calls on a barrier.

use core::fmt;

use shmem_core::{Corrupt, Incarnation};

/// Why a barrier was not passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarrierError {
    /// The deadline passed. No party is known to be silent or gone.
    TimedOut,
    /// The deadline passed. The incarnation in this error, of another party, is silent and has not
    /// arrived.
    PartySilent(Incarnation),
    /// A later incarnation of this partition takes part, or all parties have passed without it:
    /// this one was treated as gone, or its number was given to two partitions.
    Evicted,
    /// The incarnation in this error, of another party, is gone and has not arrived.
    PartyDied(Incarnation),
    /// A partition broke the protocol.
    Corrupt(Corrupt),
}

impl From<Corrupt> for BarrierError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

impl fmt::Display for BarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("the deadline passed before all parties had arrived"),
            Self::PartySilent(incarnation) => {
                write!(
                    f,
                    "the deadline passed, and {incarnation} is silent and has not arrived"
                )
            }
            Self::Evicted => f.write_str(
                "this incarnation was treated as gone: a later one takes part, or the others \
                 passed without it",
            ),
            Self::PartyDied(incarnation) => {
                write!(f, "{incarnation} died before it arrived at the barrier")
            }
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

/// Why a partition cannot use the barrier in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarrierAttachError {
    /// The segment has no entry for the partition.
    NoEntry {
        /// Number of the partition.
        partition: u8,
        /// Entries of the segment.
        entries: usize,
    },
    /// No parties, or more than the segment has entries.
    Parties {
        /// The number of parties.
        parties: usize,
        /// Entries of the segment.
        entries: usize,
    },
}

impl fmt::Display for BarrierAttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEntry { partition, entries } => write!(
                f,
                "partition {partition} has no entry in a barrier of {entries} entries"
            ),
            Self::Parties { parties, entries } => write!(
                f,
                "a barrier of {entries} entries cannot have {parties} parties: it must have 1 to {entries}"
            ),
        }
    }
}

#[cfg(feature = "std")]
mod std_error {
    impl std::error::Error for super::BarrierAttachError {}
    impl std::error::Error for super::BarrierError {}
}
