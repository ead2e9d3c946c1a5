//! What the calls on a ring can say.

use core::fmt;
use core::mem::size_of;

use crate::error::Corrupt;
use crate::layout::{RingControl, MAX_CAPACITY, MIN_CAPACITY};

/// A segment whose length is not a ring's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeometryError {
    /// The segment's length.
    pub len: usize,
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a segment of {} bytes is no ring: it must have {} and a power of two from {} to {}",
            self.len,
            size_of::<RingControl>(),
            MIN_CAPACITY,
            MAX_CAPACITY
        )
    }
}

pub use crate::claim::ClaimError;

const EVICTED: &str = "another partition has taken this end of the ring over";

/// Why a record was not pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// No room now; the consumer makes some. It gives back what it has read after an eighth of
    /// the ring, with [`Consumer::notify`](super::Consumer::notify), and when it finds nothing
    /// more.
    Full,
    /// Longer than any record of this ring.
    TooLong {
        /// Bytes of the longest one.
        max: usize,
    },
    /// The consumer was restarted since the last call: nothing was pushed.
    /// Said once; the next push is for its new incarnation.
    Restarted,
    /// The consumer broke the protocol. Terminal.
    Corrupt(Corrupt),
    /// Another has taken this end over, whether this one was gone or was only thought to
    /// be. Terminal. Everything answered `Ok` before stays; what the call that says so
    /// first was to publish is there or not.
    Evicted,
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the ring is full"),
            Self::TooLong { max } => {
                write!(
                    f,
                    "the record is longer than the {max} bytes that this ring takes"
                )
            }
            Self::Restarted => f.write_str("the consumer was restarted: nothing was pushed"),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
            Self::Evicted => f.write_str(EVICTED),
        }
    }
}

/// Why no record was popped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopError {
    /// None there now, or [`DISCARDS`](super::DISCARDS) records were discarded by this call.
    Empty,
    /// The next one is longer than the buffer; it stays.
    TooLong {
        /// Bytes of the record.
        len: usize,
    },
    /// The producer was restarted: what came before is from its earlier incarnation,
    /// what follows from its new one. Said once, at the seam.
    Restarted,
    /// The producer broke the protocol. Terminal.
    Corrupt(Corrupt),
    /// Another has taken this end over, whether this one was gone or was only thought to
    /// be. Terminal. What was not released before is that one's.
    Evicted,
}

impl fmt::Display for PopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the ring is empty"),
            Self::TooLong { len } => {
                write!(f, "the next record has {len} bytes, more than the buffer")
            }
            Self::Restarted => f.write_str("the producer was restarted"),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
            Self::Evicted => f.write_str(EVICTED),
        }
    }
}

#[cfg(feature = "std")]
mod std_error {
    impl std::error::Error for super::GeometryError {}
    impl std::error::Error for super::PushError {}
    impl std::error::Error for super::PopError {}
}
