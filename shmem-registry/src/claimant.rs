//! Who claims rows and blocks, and how it shows on the way that it lives.

use core::cell::Cell;

use shmem_core::Life;

use crate::evicted::Evicted;
use crate::partition::Presence;

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

/// Bounded steps between two beats of a call: some 64 KiB of memory.
const STEPS_A_BEAT: u32 = 16;

/// A claimant in one call: all parts of the call count their steps together.
pub(crate) struct Caller<'c> {
    by: &'c dyn Claimant,
    steps: Cell<u32>,
}

impl<'c> Caller<'c> {
    /// Begins a call, with a beat: one that was evicted is told before it does anything.
    pub(crate) fn begin(by: &'c dyn Claimant) -> Result<Self, Evicted> {
        by.beat()?;
        Ok(Self {
            by,
            steps: Cell::new(0),
        })
    }

    pub(crate) fn life(&self) -> Life {
        self.by.life()
    }

    /// Beats now and then.
    pub(crate) fn step(&self) -> Result<(), Evicted> {
        let steps = self.steps.get().wrapping_add(1);
        self.steps.set(steps);
        match steps % STEPS_A_BEAT {
            0 => self.by.beat(),
            _ => Ok(()),
        }
    }
}
