//! The errors of the calls on a semaphore.

use core::fmt;

use shmem_core::{Corrupt, Incarnation};

/// Why no permit was acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcquireError {
    /// All permits are held, and this call does not wait.
    Busy,
    /// The deadline passed. No holder is known to be silent or gone.
    TimedOut,
    /// The deadline passed, and the incarnation in this error, which holds a permit, is silent. The
    /// permit returns when it is known to be gone.
    HolderSilent(Incarnation),
    /// A partition broke the protocol.
    Corrupt(Corrupt),
}

impl From<Corrupt> for AcquireError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("no permit is available"),
            Self::TimedOut => f.write_str("the deadline passed before a permit was available"),
            Self::HolderSilent(incarnation) => {
                write!(
                    f,
                    "the deadline passed while {incarnation}, which is silent, held a permit"
                )
            }
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

/// Why permits were not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError {
    /// There is no room for all; none was added.
    Overflow {
        /// Permits to add.
        asked: usize,
        /// Permits that there was room for.
        room: usize,
        /// Permits that the segment has places for.
        capacity: usize,
    },
    /// This incarnation was treated as gone while it added permits: some of them may be missing.
    Evicted,
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overflow {
                asked,
                room,
                capacity,
            } => write!(
                f,
                "{asked} permits do not fit: {room} of {capacity} places are free"
            ),
            Self::Evicted => f.write_str(
                "this incarnation was treated as gone while it added permits: some may be \
                     missing",
            ),
        }
    }
}

#[cfg(feature = "std")]
mod std_error {
    impl std::error::Error for super::AcquireError {}
    impl std::error::Error for super::AddError {}
}
