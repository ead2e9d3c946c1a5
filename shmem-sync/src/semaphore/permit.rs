//! Holding a permit.

use core::mem;

use shmem_core::doorbell::Doorbell;
use shmem_core::primitive::Ordering::Relaxed;

use super::{Semaphore, SLEEPERS};
use crate::error::NotHeld;

/// A permit of a [`Semaphore`]; given back when it is dropped.
///
/// One that is forgotten ([`core::mem::forget`]) stays our life's until
/// [`Semaphore::release`] or [`Semaphore::consume`], or until our life is over.
#[must_use = "a permit that is dropped is given back"]
pub struct Permit<'s, 'm, D: Doorbell> {
    semaphore: &'s Semaphore<'m, D>,
    at: usize,
}

impl<'s, 'm, D: Doorbell> Permit<'s, 'm, D> {
    #[inline]
    pub(super) fn new(semaphore: &'s Semaphore<'m, D>, at: usize) -> Self {
        Self { semaphore, at }
    }

    /// Gives the permit back, as a drop does, and says whether it was still ours.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if our life was said to be gone and the permit went to another.
    pub fn release(self) -> Result<(), NotHeld> {
        let given = self.semaphore.give(self.at);
        mem::forget(self);
        given
    }

    /// Ends the permit: there is one less from now on.
    ///
    /// # Errors
    ///
    /// As [`Permit::release`].
    pub fn consume(self) -> Result<(), NotHeld> {
        let done = self.semaphore.discard(self.at);
        mem::forget(self);
        done
    }
}

impl<D: Doorbell> Drop for Permit<'_, '_, D> {
    #[inline]
    fn drop(&mut self) {
        // Not ours any more: we were said to be gone, and there is nobody to tell.
        let _ = self.semaphore.give(self.at);
    }
}

/// Without a [`Permit`], for callers that cannot keep one. They mean whichever
/// permit our life holds, perhaps one whose [`Permit`] is about to be dropped.
impl<D: Doorbell> Semaphore<'_, D> {
    /// Gives back a permit that our life holds.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if it holds none.
    pub fn release(&self) -> Result<(), NotHeld> {
        self.end_one(|at| self.give(at))
    }

    /// Ends a permit that our life holds.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if it holds none.
    pub fn consume(&self) -> Result<(), NotHeld> {
        self.end_one(|at| self.discard(at))
    }

    fn end_one(&self, end: impl Fn(usize) -> Result<(), NotHeld>) -> Result<(), NotHeld> {
        // relaxed: only our life stores this value (P1), and an exchange decides.
        let ours = |&at: &usize| self.permit(at).load(Relaxed) & !SLEEPERS == self.life.word();
        match self.places().filter(ours).any(|at| end(at).is_ok()) {
            true => Ok(()),
            false => Err(NotHeld { holder: None }),
        }
    }
}
