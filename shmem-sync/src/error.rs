//! What the calls on a lock can say.

use core::convert::Infallible;
use core::fmt;

use shmem_core::{Corrupt, Life};

/// Why a lock was not had, or not without a warning.
pub enum LockError<G> {
    /// The lock is had, but its last owner died inside: what it protects may be
    /// half-changed. Repair it and say so with the guard's `make_consistent`; a
    /// guard that is given back without poisons the lock for good.
    OwnerDied(G),
    /// An owner found what a dead one left and did not repair it. For good.
    Poisoned,
    /// Somebody else has it, and this call does not wait.
    Busy,
    /// The deadline passed first, and nothing is known against who was in the way.
    TimedOut,
    /// The deadline passed first, and this life, which was in the way, is silent: nobody
    /// takes over from it until it is known to be gone. Wait again, or have it ended.
    HolderSilent(Life),
    /// This life was said to be gone: a later one of its partition has its place, or the
    /// others passed it over. Only a [`BakeryMutex`](crate::BakeryMutex), where each
    /// partition has a place, tells so here; the lock is not had.
    Evicted,
    /// A partition broke the protocol.
    Corrupt(Corrupt),
}

/// A guard; or why there is none, or one with a warning.
pub type LockResult<G> = Result<G, LockError<G>>;

/// Why a lock was not had.
pub(crate) type Refusal = LockError<Infallible>;

impl Refusal {
    /// The same where there could have been a guard.
    pub(crate) fn of<G>(self) -> LockError<G> {
        self.map(|never| match never {})
    }
}

impl<G> LockError<G> {
    /// The same of another guard.
    pub(crate) fn map<H>(self, guard: impl FnOnce(G) -> H) -> LockError<H> {
        match self {
            Self::OwnerDied(held) => LockError::OwnerDied(guard(held)),
            Self::Poisoned => LockError::Poisoned,
            Self::Busy => LockError::Busy,
            Self::TimedOut => LockError::TimedOut,
            Self::HolderSilent(life) => LockError::HolderSilent(life),
            Self::Evicted => LockError::Evicted,
            Self::Corrupt(corrupt) => LockError::Corrupt(corrupt),
        }
    }
}

impl<G> fmt::Display for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied(_) => f.write_str(
                "the last owner died inside: repair what the lock protects, then make it consistent",
            ),
            Self::Poisoned => f.write_str(
                "the lock is poisoned: what a dead owner left was not repaired; format its segment anew",
            ),
            Self::Busy => f.write_str("somebody else has the lock"),
            Self::TimedOut => f.write_str("the deadline passed before the lock was free"),
            Self::HolderSilent(life) => {
                write!(f, "the deadline passed while {life}, which is silent, had the lock")
            }
            Self::Evicted => f.write_str("this partition was said to be gone, and others have its place"),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

impl<G> fmt::Debug for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied(_) => f.write_str("OwnerDied"),
            Self::Poisoned => f.write_str("Poisoned"),
            Self::Busy => f.write_str("Busy"),
            Self::TimedOut => f.write_str("TimedOut"),
            Self::HolderSilent(life) => f.debug_tuple("HolderSilent").field(life).finish(),
            Self::Evicted => f.write_str("Evicted"),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

/// Something was given back that the caller does not hold: it never did, or it
/// was said to be dead and robbed of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHeld {
    /// Who holds it instead, if anybody.
    pub holder: Option<Life>,
}

impl fmt::Display for NotHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.holder {
            Some(holder) => write!(f, "given back by one who does not hold it: {holder} does"),
            None => f.write_str("given back by one who does not hold it: nobody does"),
        }
    }
}

#[cfg(feature = "std")]
mod std_error {
    impl<G> std::error::Error for super::LockError<G> {}
    impl std::error::Error for super::NotHeld {}
}
