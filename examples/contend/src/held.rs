//! Guards of the locks that protect the counters.

use anyhow::Result;
use shmem_sync::{Guard, LockError, LockFailure, LockResult, NotHeld};

use crate::ledger::{self, Counters};
use crate::party::Party;
use crate::report::Event;
use crate::stop::Stop;

/// A lock that is held, alone.
pub(crate) type Held<'l, 'm> = Guard<'l, 'm, Counters>;

/// The guard with counters that are whole: mended, if its last owner died.
pub(crate) fn admitted<'l, 'm>(
    taken: LockResult<Held<'l, 'm>>,
    party: &Party<'_>,
) -> Result<Held<'l, 'm>> {
    let guard = match taken {
        Ok(guard) => guard,
        Err(LockError::OwnerDied(mut guard)) => {
            guard.update(ledger::mend);
            guard.make_consistent();
            party.report.say(&Event::Mended);
            guard
        }
        Err(LockError::Failed(failure)) => return Err(refused(failure)),
    };
    ledger::check(&guard.get())?;
    Ok(guard)
}

/// What to say where there is no guard.
pub(crate) fn refused(failure: LockFailure) -> anyhow::Error {
    match failure {
        LockFailure::TimedOut => Stop::Late("another party has the lock".to_owned()).into(),
        LockFailure::HolderSilent(incarnation) => {
            Stop::Late(format!("{incarnation} has the lock, and is silent")).into()
        }
        LockFailure::Evicted => Stop::Evicted(failure.to_string()).into(),
        other => anyhow::Error::msg(other.to_string()),
    }
}

/// What to say to one that no longer had what it gave back.
pub(crate) fn lost(not_held: NotHeld) -> Stop {
    Stop::Evicted(not_held.to_string())
}
