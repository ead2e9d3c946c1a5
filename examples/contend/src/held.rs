//! Guards of the locks that protect the counters.

use anyhow::Result;
use shmem_sync::{Guard, LockError, LockFailure, LockResult, NotHeld};

use crate::ledger::{self, Counters};
use crate::party::Party;
use crate::report::Event;
use crate::stop::Stop;

/// The guard of an exclusive lock.
pub(crate) type Held<'l, 'm> = Guard<'l, 'm, Counters>;

/// Returns the guard with consistent counters: repairs them if the last owner died.
pub(crate) fn finish_lock<'l, 'm>(
    taken: LockResult<Held<'l, 'm>>,
    party: &Party<'_>,
) -> Result<Held<'l, 'm>> {
    let guard = match taken {
        Ok(guard) => guard,
        Err(LockError::OwnerDied(mut guard)) => {
            guard.update(ledger::repair);
            guard.make_consistent();
            party.report.say(&Event::Repaired);
            guard
        }
        Err(LockError::Failed(failure)) => return Err(lock_error(failure)),
    };
    ledger::check(&guard.get())?;
    Ok(guard)
}

/// Returns the error of a lock that was not acquired.
pub(crate) fn lock_error(failure: LockFailure) -> anyhow::Error {
    match failure {
        LockFailure::TimedOut => Stop::TimedOut("another party has the lock".to_owned()).into(),
        LockFailure::HolderSilent(incarnation) => {
            Stop::TimedOut(format!("{incarnation} has the lock, and is silent")).into()
        }
        LockFailure::Evicted => Stop::Evicted(failure.to_string()).into(),
        other => anyhow::Error::msg(other.to_string()),
    }
}

/// Returns the error of a release by a party that no longer held the lock.
pub(crate) fn not_held_error(not_held: NotHeld) -> Stop {
    Stop::Evicted(not_held.to_string())
}
