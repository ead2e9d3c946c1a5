//! Guards of all locks that protect a ledger, in one form.

use anyhow::Result;
use shmem_core::Window;
use shmem_core::doorbell::Doorbell;
use shmem_sync::{BakeryGuard, LockError, LockResult, MutexGuard, NotHeld, WriteGuard};

use crate::ledger::Ledger;
use crate::party::Party;
use crate::report::Event;
use crate::stop::Stop;

/// A lock that is had, alone.
pub(crate) trait Held<'m>: Sized {
    fn bytes(&self) -> Window<'m>;
    fn repaired(&mut self);
    fn give_back(self) -> Result<(), NotHeld>;

    fn ledger(&self) -> Ledger<'m> {
        Ledger::new(self.bytes())
    }
}

/// What a guard has under the same names, whichever lock's it is.
macro_rules! held {
    ($guard:ty $(, $bell:ident)?) => {
        impl<'m $(, $bell: Doorbell)?> Held<'m> for $guard {
            fn bytes(&self) -> Window<'m> {
                self.data()
            }

            fn repaired(&mut self) {
                self.make_consistent();
            }

            fn give_back(self) -> Result<(), NotHeld> {
                self.unlock()
            }
        }
    };
}

held!(MutexGuard<'_, 'm, D>, D);
held!(WriteGuard<'_, 'm, D>, D);
held!(BakeryGuard<'_, 'm>);

/// The guard with a ledger that is whole: mended, if its last owner died.
pub(crate) fn admitted<'m, G: Held<'m>>(taken: LockResult<G>, party: &Party<'m>) -> Result<G> {
    let guard = match taken {
        Ok(guard) => guard,
        Err(LockError::OwnerDied(mut guard)) => {
            guard.ledger().mend();
            guard.repaired();
            party.report.say(&Event::Mended);
            guard
        }
        Err(error) => return Err(refused(error)),
    };
    guard.ledger().check()?;
    Ok(guard)
}

/// What to say where there is no guard.
pub(crate) fn refused<G>(error: LockError<G>) -> anyhow::Error {
    match error {
        LockError::TimedOut => Stop::Late("another party has the lock".to_owned()).into(),
        LockError::HolderSilent(life) => {
            Stop::Late(format!("{life} has the lock, and is silent")).into()
        }
        LockError::Evicted => Stop::Evicted(error.to_string()).into(),
        other => anyhow::Error::msg(other.to_string()),
    }
}

/// What to say to one that no longer had what it gave back.
pub(crate) fn lost(not_held: NotHeld) -> Stop {
    Stop::Evicted(not_held.to_string())
}
