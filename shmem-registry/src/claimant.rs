//! The partition that claims rows and blocks, and its heartbeat during a long call.

use core::cell::Cell;

use shmem_core::Incarnation;

use crate::evicted::Evicted;
use crate::partition::Attachment;

/// A partition that creates and removes segments: an [`Attachment`], which beats during a long
/// call, or a bare [`Incarnation`], which has no slot to beat in.
pub trait Claimant {
    /// Returns the incarnation that owns the rows it works on.
    fn incarnation(&self) -> Incarnation;

    /// Called between the steps of a long call, often enough for
    /// [`liveness::SILENCE_LIMIT`](crate::liveness::SILENCE_LIMIT).
    ///
    /// # Errors
    ///
    /// [`Evicted`] if another incarnation has taken its place. It ends the call, which stores
    /// nothing more.
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

/// Bounded steps between two beats of a call: about 64 KiB of memory.
const STEPS_A_BEAT: u32 = 16;

/// A claimant in one call. All parts of the call count their steps together.
pub(crate) struct Caller<'c> {
    by: &'c dyn Claimant,
    steps: Cell<u32>,
}

impl<'c> Caller<'c> {
    /// Begins a call with a beat, so that an evicted partition gets its error before it changes
    /// anything.
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

    /// Counts a bounded step, and beats if a beat is due.
    pub(crate) fn step(&self) -> Result<(), Evicted> {
        let steps = self.steps.get().wrapping_add(1);
        self.steps.set(steps);
        match steps % STEPS_A_BEAT {
            0 => self.by.beat(),
            _ => Ok(()),
        }
    }
}
