//! The errors of a ring's calls.

use core::fmt;
use core::mem::size_of;

use crate::error::Corrupt;
use crate::layout::{RingControl, MAX_CAPACITY, MIN_CAPACITY};

/// The segment does not have the length of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeometryError {
    /// The segment's length.
    pub len: usize,
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a segment of {} bytes is not a ring: its length must be {} bytes plus a power of two \
             from {} to {}",
            self.len,
            size_of::<RingControl>(),
            MIN_CAPACITY,
            MAX_CAPACITY
        )
    }
}

pub use crate::claim::ClaimError;

const _: () = assert!(size_of::<PushError>() == 8 && size_of::<PopError>() == 8);

const EVICTED: &str = "another incarnation has taken over this end of the ring";

/// Why a record was not pushed.
///
/// It has eight bytes, so that a call returns it in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// There is no room now. The consumer frees space after each eighth of the ring, when it
    /// calls [`Consumer::notify`](super::Consumer::notify), and when it finds the ring empty.
    Full,
    /// The record is longer than this ring allows.
    TooLong {
        /// Bytes of the longest record.
        max: u32,
    },
    /// The consumer was restarted since the last call: nothing was pushed.
    /// Reported once; the next push is for the new consumer.
    Restarted,
    /// The consumer broke the protocol. Every later call returns this.
    Corrupt(Corrupt),
    /// Another incarnation has taken over this end, even if this one was not gone. Every later call
    /// returns this. Records before an `Ok` of `notify` stay; later ones can be lost if this end
    /// ran while it was taken over. The record of the first call that returns this may have been
    /// published.
    Evicted,
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the ring is full"),
            Self::TooLong { max } => {
                write!(
                    f,
                    "the record is longer than the {max} bytes that this ring allows"
                )
            }
            Self::Restarted => f.write_str("the consumer was restarted: nothing was pushed"),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
            Self::Evicted => f.write_str(EVICTED),
        }
    }
}

/// Why no record was popped. It has eight bytes, for the reason given at [`PushError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopError {
    /// There is no record now, or this call discarded [`MAX_DISCARDS`](super::MAX_DISCARDS)
    /// records.
    Empty,
    /// The next record is longer than the buffer; it stays.
    TooLong {
        /// Bytes of the record.
        len: u32,
    },
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
