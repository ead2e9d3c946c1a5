//! What the calls on a semaphore can say.

use core::fmt;

use shmem_core::{Corrupt, Incarnation};

/// Why there is no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcquireError {
    /// All are held, and this call does not wait.
    Busy,
    /// The deadline passed first, and nothing is known against those who hold permits.
    TimedOut,
    /// The deadline passed first, and this incarnation, which holds a permit, is silent: the
    /// permit comes back when it is known to be gone.
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
        /// Permits that were to be added.
        asked: usize,
        /// Permits that could have been.
        room: usize,
        /// Permits the segment has places for.
        capacity: usize,
    },
    /// This incarnation was said to be gone while it added: some of the permits may be missing.
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
                "{asked} permits do not fit where {room} of {capacity} are missing"
            ),
            Self::Evicted => {
                f.write_str("said to be gone while it added permits: some may be missing")
            }
        }
    }
}

#[cfg(feature = "std")]
mod std_error {
    impl std::error::Error for super::AcquireError {}
    impl std::error::Error for super::AddError {}
}
