//! Who claims rows and blocks, and how it shows on the way that it lives.

use core::cell::Cell;

use shmem_core::Incarnation;

use crate::evicted::Evicted;
use crate::partition::Attachment;

/// Who creates and removes segments: a partition by its [`Attachment`], which beats
/// while a call takes long, or a bare [`Incarnation`] that has no slot to beat in.
pub trait Claimant {
    /// Whose the rows are that it works on.
    fn incarnation(&self) -> Incarnation;

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

impl Claimant for Incarnation {
    fn incarnation(&self) -> Incarnation {
        *self
    }
}

impl Claimant for Attachment<'_> {
    fn incarnation(&self) -> Incarnation {
        Attachment::incarnation(self)
    }

    fn beat(&self) -> Result<(), Evicted> {
        Attachment::beat(self)
    }
}

impl<C: Claimant + ?Sized> Claimant for &C {
    fn incarnation(&self) -> Incarnation {
        (**self).incarnation()
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

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.by.incarnation()
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
