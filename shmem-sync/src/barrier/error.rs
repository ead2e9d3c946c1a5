//! What the calls on a barrier can say.

use core::fmt;

use shmem_core::{Corrupt, Incarnation};

/// Why a barrier was not passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarrierError {
    /// The deadline passed first, and nothing is known against the parties.
    TimedOut,
    /// The deadline passed first; this incarnation of a party is silent, and has not arrived.
    PartySilent(Incarnation),
    /// A later incarnation of this partition takes part, or all parties have passed without it:
    /// this one was said to be gone, or its number was given twice.
    Evicted,
    /// This incarnation of a party is over, and it has not arrived.
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
                    "the deadline passed before {incarnation}, which is silent, had arrived"
                )
            }
            Self::Evicted => f.write_str(
                "a later incarnation of this partition takes part, or the others passed without it",
            ),
            Self::PartyDied(incarnation) => {
                write!(f, "{incarnation} died before it arrived at the barrier")
            }
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

/// Why there is no such barrier in a segment.
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
        /// Parties that are to meet.
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
                "{parties} parties cannot meet at a barrier of {entries} entries"
            ),
        }
    }
}

#[cfg(feature = "std")]
mod std_error {
    impl std::error::Error for super::BarrierAttachError {}
    impl std::error::Error for super::BarrierError {}
}
