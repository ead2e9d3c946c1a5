//! What the calls on a typed ring can say.

use core::fmt;
use core::mem::size_of;

pub use crate::claim::ClaimError;

use crate::error::Corrupt;
use crate::layout::{TypedRingControl, MAX_SLOTS, MIN_SLOTS};

/// Why a segment is no typed ring of this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// Its length is not one of a ring of such records.
    Geometry {
        /// The segment's length.
        len: usize,
        /// Bytes of a slot.
        slot: usize,
    },
    /// Its records have another size.
    RecordSize {
        /// Bytes of the records that it is used for.
        found: u32,
        /// Bytes of the type.
        expected: u32,
    },
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Geometry { len, slot } => write!(
                f,
                "a segment of {len} bytes is not a typed ring: it must have {} and {slot} for each \
                 of a power of two of slots, from {MIN_SLOTS} to {MAX_SLOTS}",
                size_of::<TypedRingControl>()
            ),
            Self::RecordSize { found, expected } => write!(
                f,
                "the ring is used for records of {found} bytes, not {expected}"
            ),
        }
    }
}

const EVICTED: &str = "another partition has taken this end of the ring over";

/// Why a record was not pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// No slot is free now. The consumer gives back what it has read after an eighth of the
    /// ring, with [`TypedConsumer::notify`](super::TypedConsumer::notify), and when it finds
    /// nothing more.
    Full,
    /// The consumer was restarted since the last call: nothing was pushed.
    /// Said once; the next push is for the new consumer.
    Restarted,
    /// The consumer broke the protocol. Terminal.
    Corrupt(Corrupt),
    /// Another has taken this end over, whether this one was gone or was only thought to
    /// be. Terminal. Everything answered `Ok` before stays; what the call that says so
    /// first was to publish is not there, if the other one has begun.
    Evicted,
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the ring is full"),
            Self::Restarted => f.write_str("the consumer was restarted: nothing was pushed"),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
            Self::Evicted => f.write_str(EVICTED),
        }
    }
}

/// Why no record was popped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopError {
    /// None is there now.
    Empty,
    /// The producer was restarted: what came before is from an earlier producer, what follows
    /// from the next one. Said once, between the two.
    Restarted,
    /// The producer broke the protocol. Terminal.
    Corrupt(Corrupt),
    /// Another has taken this end over, whether this one was gone or was only thought to
    /// be. Terminal. What was not released before is the successor's.
    Evicted,
}

impl fmt::Display for PopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the ring is empty"),
            Self::Restarted => f.write_str("the producer was restarted"),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
            Self::Evicted => f.write_str(EVICTED),
        }
    }
}

#[cfg(feature = "std")]
mod std_error {
    impl std::error::Error for super::AttachError {}
    impl std::error::Error for super::PushError {}
    impl std::error::Error for super::PopError {}
}
