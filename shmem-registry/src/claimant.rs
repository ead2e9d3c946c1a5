//! Who claims rows and blocks, and how it shows on the way that it lives.

use shmem_core::Life;

use crate::partition::{Evicted, Presence};

/// Who creates and removes segments: a partition by its [`Presence`], which beats
/// while a call takes long, or a bare [`Life`] that has no slot to beat in.
pub trait Claimant {
    /// Whose the rows are that it works on.
    fn life(&self) -> Life;

    /// Called between the steps of a long call, often enough for
    /// [`liveness::LIMIT`](crate::liveness::LIMIT).
    ///
    /// # Errors
    ///
    /// [`Evicted`] ends the call: it stores nothing more.
    fn beat(&self) -> Result<(), Evicted> {
        Ok(())
    }
}

impl Claimant for Life {
    fn life(&self) -> Life {
        *self
    }
}

impl Claimant for Presence<'_> {
    fn life(&self) -> Life {
        Presence::life(self)
    }

    fn beat(&self) -> Result<(), Evicted> {
        Presence::beat(self)
    }
}

impl<C: Claimant + ?Sized> Claimant for &C {
    fn life(&self) -> Life {
        (**self).life()
    }

    fn beat(&self) -> Result<(), Evicted> {
        (**self).beat()
    }
}
