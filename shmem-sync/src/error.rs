//! Results of the calls on a lock.

use core::fmt;

use shmem_core::{Corrupt, Incarnation};

use crate::shape::Shape;

/// How a lock was acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what a dead owner left may be half-changed"]
pub enum Acquired {
    /// The protected data is whole.
    Clean,
    /// The last owner died while it held the lock: the protected data may be half-changed.
    OwnerDied,
}

impl Acquired {
    pub(crate) fn new(suspect: bool) -> Self {
        match suspect {
            false => Self::Clean,
            true => Self::OwnerDied,
        }
    }

    /// Returns the guard, with the warning if there is one.
    pub(crate) fn into_result<G>(self, guard: G) -> LockResult<G> {
        match self {
            Self::Clean => Ok(guard),
            Self::OwnerDied => Err(LockError::OwnerDied(guard)),
        }
    }
}

/// Why a lock was not acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockFailure {
    /// The lock was unlocked without repairing the data that a dead owner left. Permanent.
    Poisoned,
    /// Another partition, or another thread of this one, has the lock, and this call does not wait.
    Busy,
    /// The deadline passed. The holder is not known to be silent or gone.
    TimedOut,
    /// The deadline passed. The incarnation in this error holds the lock, or is ahead in the queue,
    /// and is silent. No partition takes over from it until it is known to be gone. Wait again, or
    /// end that partition.
    HolderSilent(Incarnation),
    /// This incarnation was treated as gone: a later one of its partition has replaced it, or
    /// others went ahead of it in the queue. Only a [`BakeryMutex`](crate::BakeryMutex) reports it
    /// here.
    Evicted,
    /// A partition broke the protocol.
    Corrupt(Corrupt),
}

impl fmt::Display for LockFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poisoned => f.write_str(
                "the lock is poisoned, because the data that a dead owner left was not repaired: \
                 remove its segment and create a new one",
            ),
            Self::Busy => f.write_str("the lock is held, and this call does not wait"),
            Self::TimedOut => f.write_str("the deadline passed before the lock was free"),
            Self::HolderSilent(incarnation) => {
                write!(
                    f,
                    "the deadline passed: {incarnation} has the lock or is ahead in the queue, and \
                     is silent"
                )
            }
            Self::Evicted => f.write_str(
                "this incarnation was treated as gone and has lost its place: attach again",
            ),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

/// Why a call returned no guard, or a guard with a warning.
pub enum LockError<G> {
    /// The lock is acquired, but its last owner died while it held the lock: the protected data may
    /// be half-changed. Repair the data, then call the guard's `make_consistent`. Unlocking or
    /// dropping the guard without that poisons the lock permanently.
    OwnerDied(G),
    /// The lock is not acquired.
    Failed(LockFailure),
}

/// A guard, or a [`LockError`]: no guard, or a guard with a warning.
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
                "the last owner died while it held the lock: repair the data, then call \
                 make_consistent",
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

/// The caller unlocked a lock or released a permit that it does not hold. Either it never held it,
/// or it was treated as gone and another incarnation took it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHeld {
    /// The incarnation that holds the lock or permit instead; `None` if none does.
    pub holder: Option<Incarnation>,
}

impl fmt::Display for NotHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.holder {
            Some(holder) => write!(
                f,
                "this incarnation does not hold the lock or permit: {holder} does"
            ),
            None => {
                f.write_str("this incarnation does not hold the lock or permit, and no other does")
            }
        }
    }
}

/// Why a partition cannot use the lock in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// The segment's length differs from that of the lock and what it protects.
    Length {
        /// Bytes of the segment.
        segment: usize,
        /// Bytes of the lock with what it protects; a minimum if that has no size of its own.
        needed: usize,
    },
    /// Another partition uses the lock for a value of another shape.
    Shape {
        /// The shape of the value that the lock protects.
        found: Shape,
        /// The shape of our value.
        ours: Shape,
    },
    /// The partition is not one of those that take part in a
    /// [`BakeryMutex`](crate::BakeryMutex).
    Partition {
        /// The partition's number.
        partition: u8,
        /// The largest number that takes part.
        limit: u8,
    },
    /// A later incarnation of this partition uses the [`BakeryMutex`](crate::BakeryMutex): this one
    /// was treated as gone.
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
                "this incarnation was treated as gone, and a later one of its partition uses the \
                 lock",
            ),
            Self::Partition { partition, limit } => write!(
                f,
                "partition {partition} cannot use this lock: it is for partitions 1 to {limit}"
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
