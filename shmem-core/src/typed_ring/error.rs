//! The errors of a typed ring's calls.

use core::fmt;
use core::mem::size_of;

pub use crate::claim::ClaimError;

use crate::error::Corrupt;
use crate::layout::{TypedRingControl, MAX_SLOTS, MIN_SLOTS};

/// Why a segment is not a typed ring of this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// The segment does not have the length of a ring of such records.
    Geometry {
        /// The segment's length.
        len: usize,
        /// Bytes of a slot.
        slot: usize,
    },
    /// The records of the ring have another size.
    RecordSize {
        /// Bytes of a record of the ring.
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
                "a segment of {len} bytes is not a typed ring: its length must be {} bytes plus \
                 {slot} bytes for each slot, with {MIN_SLOTS} to {MAX_SLOTS} slots, a power of two",
                size_of::<TypedRingControl>()
            ),
            Self::RecordSize { found, expected } => write!(
                f,
                "the ring is used for records of {found} bytes, not {expected}"
            ),
        }
    }
}

const EVICTED: &str = "another incarnation has taken over this end of the ring";

/// Why a record was not pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// No slot is free now. The consumer frees slots after each eighth of the ring, when it calls
    /// [`TypedConsumer::notify`](super::TypedConsumer::notify), and when it finds the ring empty.
    Full,
    /// The consumer was restarted since the last call: nothing was pushed.
    /// Reported once; the next push is for the new consumer.
    Restarted,
    /// The consumer broke the protocol. Every later call returns this.
    Corrupt(Corrupt),
    /// Another incarnation has taken over this end, even if this one was not gone. Every later call
    /// returns this. Records before an `Ok` of `notify` stay; later ones can be lost if this end
    /// ran while it was taken over. The records of the first call that returns this are lost if the
    /// successor's claim was already complete; otherwise the successor may have found them.
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
    /// There is no record now.
    Empty,
    /// The producer was restarted. Records before this are from the earlier producer, records
    /// after it from the new one. Reported once, between the two.
    Restarted,
    /// The producer broke the protocol. Every later call returns this.
    Corrupt(Corrupt),
    /// Another incarnation has taken over this end, even if this one was not gone. Every later
    /// call returns this. The successor receives the records that were not released.
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
