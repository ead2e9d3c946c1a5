//! Results of the calls on a lock.

use core::fmt;

use shmem_core::{Corrupt, Incarnation};

use crate::shape::Shape;

/// How a lock was acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what a dead owner left may be half-changed"]
pub enum Acquired {
    /// What it protects is whole.
    Clean,
    /// The last owner died inside: what it protects may be half-changed.
    OwnerDied,
}

impl Acquired {
    pub(crate) fn new(suspect: bool) -> Self {
        match suspect {
            false => Self::Clean,
            true => Self::OwnerDied,
        }
    }

    /// The guard with the warning where there is one.
    pub(crate) fn guard<G>(self, guard: G) -> LockResult<G> {
        match self {
            Self::Clean => Ok(guard),
            Self::OwnerDied => Err(LockError::OwnerDied(guard)),
        }
    }
}

/// Why a lock was not acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockFailure {
    /// An owner found what a dead one left and did not repair it. For good.
    Poisoned,
    /// Somebody else has it, and this call does not wait.
    Busy,
    /// The deadline passed first, and nothing is known against who was in the way.
    TimedOut,
    /// The deadline passed first, and this incarnation, which was in the way, is silent: nobody
    /// takes over from it until it is known to be gone. Wait again, or have it ended.
    HolderSilent(Incarnation),
    /// This incarnation was taken for gone: a later one of its partition has its place, or the
    /// others passed it over. Only a [`BakeryMutex`](crate::BakeryMutex), where each
    /// partition has a place, reports it here.
    Evicted,
    /// A partition broke the protocol.
    Corrupt(Corrupt),
}

impl fmt::Display for LockFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poisoned => f.write_str(
                "the lock is poisoned: what a dead owner left was not repaired; format its segment anew",
            ),
            Self::Busy => f.write_str("somebody else has the lock"),
            Self::TimedOut => f.write_str("the deadline passed before the lock was free"),
            Self::HolderSilent(incarnation) => {
                write!(f, "the deadline passed while {incarnation}, which is silent, had the lock")
            }
            Self::Evicted => {
                f.write_str("this partition was said to be gone, and others have its place")
            }
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

/// Why there is no guard, or one with a warning.
pub enum LockError<G> {
    /// The lock is acquired, but its last owner died inside: what it protects may be
    /// half-changed. Repair it, then call the guard's `make_consistent`; a guard that
    /// is unlocked without it poisons the lock for good.
    OwnerDied(G),
    /// The lock is not acquired.
    Failed(LockFailure),
}

/// A guard; or why there is none, or one with a warning.
pub type LockResult<G> = Result<G, LockError<G>>;

impl<G> From<LockFailure> for LockError<G> {
    fn from(failure: LockFailure) -> Self {
        Self::Failed(failure)
    }
}

impl<G> fmt::Display for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied(_) => f.write_str(
                "the last owner died inside: repair what the lock protects, then make it consistent",
            ),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

impl<G> fmt::Debug for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied(_) => f.write_str("OwnerDied"),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

/// Something was unlocked or released that the caller does not hold: it never did, or
/// it was taken for gone and another has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHeld {
    /// Who holds it instead, if anybody.
    pub holder: Option<Incarnation>,
}

impl fmt::Display for NotHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.holder {
            Some(holder) => write!(f, "given back by one who does not hold it: {holder} does"),
            None => f.write_str("given back by one who does not hold it: nobody does"),
        }
    }
}

/// Why a partition cannot use the lock in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// The segment has another length than the lock and what it protects.
    Length {
        /// Bytes of the segment.
        segment: usize,
        /// Bytes of the lock with what it protects; at least so many where that has no
        /// size of its own.
        needed: usize,
    },
    /// Another partition uses the lock for a value of another shape.
    Shape {
        /// Of the value that the lock protects.
        found: Shape,
        /// Of ours.
        ours: Shape,
    },
    /// The partition is not one of those that take part in a
    /// [`BakeryMutex`](crate::BakeryMutex).
    Partition {
        /// Its number.
        partition: u8,
        /// The largest number that takes part.
        limit: u8,
    },
    /// A later incarnation of this partition uses the [`BakeryMutex`](crate::BakeryMutex): this one
    /// was taken for gone.
    Evicted,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { segment, needed } => {
                write!(
                    f,
                    "the segment has {segment} bytes, and the lock needs {needed}"
                )
            }
            Self::Shape { found, ours } => {
                write!(f, "the lock protects a value of {found}, not one of {ours}")
            }
            Self::Evicted => f.write_str(
                "this partition was taken for gone, and a later incarnation of it uses the lock",
            ),
            Self::Partition { partition, limit } => write!(
                f,
                "partition {partition} does not take part: partitions 1 to {limit} do"
            ),
        }
    }
}

#[cfg(feature = "std")]
mod std_error {
    impl std::error::Error for super::LockFailure {}
    impl<G> std::error::Error for super::LockError<G> {}
    impl std::error::Error for super::NotHeld {}
    impl std::error::Error for super::AttachError {}
}
