//! Acquiring a permit of a semaphore.

use shmem_core::primitive::Ordering::{Acquire, Relaxed, Release};
use shmem_core::wait::{Pause, Wait};
use shmem_core::{ControlWord, Corrupt, Incarnation};

use super::{AcquireError, RawSemaphore, FREE, SLEEPERS};
use crate::owner::incarnation_without_flag;
use crate::{Liveness, PartitionState};

impl RawSemaphore<'_> {
    /// As [`Semaphore::try_acquire`](crate::Semaphore::try_acquire). Returns the permit's
    /// place.
    ///
    /// # Errors
    ///
    /// [`AcquireError`], with the meaning it has there.
    #[inline]
    pub fn try_acquire<L: Liveness>(&self, liveness: &mut L) -> Result<usize, AcquireError> {
        if let Some(at) = self.try_hint().or_else(|| self.search(0)) {
            return Ok(at);
        }
        self.take_over(0, liveness)?.map_err(|_| AcquireError::Busy)
    }

    /// As [`Semaphore::acquire`](crate::Semaphore::acquire). Returns the permit's place.
    ///
    /// # Errors
    ///
    /// [`AcquireError`], with the meaning it has there.
    #[inline]
    pub fn acquire<W: Wait, L: Liveness>(
        &self,
        wait: &mut W,
        liveness: &mut L,
    ) -> Result<usize, AcquireError> {
        match self.try_hint() {
            Some(at) => Ok(at),
            None => self.acquire_slow(wait, liveness),
        }
    }

    #[cold]
    fn acquire_slow(
        &self,
        wait: &mut dyn Wait,
        liveness: &mut dyn Liveness,
    ) -> Result<usize, AcquireError> {
        let (mut slept, mut late) = (0, false);
        let outcome = loop {
            if let Some(at) = self.search(slept) {
                return Ok(at);
            }
            match self.take_over(slept, liveness) {
                Ok(Err(Some(silent))) if late => break Err(AcquireError::HolderSilent(silent)),
                Ok(Err(None)) if late => break Err(AcquireError::TimedOut),
                Ok(Err(_)) => {}
                Ok(Ok(at)) => break Ok(at),
                Err(corrupt) => break Err(corrupt.into()),
            }
            match wait.pause() {
                Pause::Again => {}
                Pause::TimedOut => late = true,
                Pause::Sleep => {
                    slept = SLEEPERS;
                    if let Some(seen) = self.arm() {
                        wait.sleep(self.ring_count().as_atomic(), seen.to_le());
                    }
                }
            }
        };
        if slept != 0 {
            self.ring(false); // P4
        }
        outcome
    }

    /// Takes the permit that was acquired last, if it is free: the uncontended case.
    #[inline]
    fn try_hint(&self) -> Option<usize> {
        // relaxed: private; any value is harmless.
        let at = self.hint.load(Relaxed);
        self.try_take(at, FREE, 0).then_some(at)
    }

    /// Takes a free permit.
    fn search(&self, flag: u32) -> Option<usize> {
        // relaxed: a hint; the exchange in `try_take` decides.
        let free = |&at: &usize| self.permit(at).load(Relaxed) == FREE;
        let at = self
            .places()
            .filter(free)
            .find(|&at| self.try_take(at, FREE, flag))?;
        self.hint.store(at, Relaxed); // relaxed: private; any value is harmless
        Some(at)
    }

    /// Takes a permit whose holder is gone, and releases places that incarnations which are gone
    /// have reserved. If there is no such permit, returns a holder that is silent, if there is one.
    fn take_over(
        &self,
        flag: u32,
        liveness: &mut dyn Liveness,
    ) -> Result<Result<usize, Option<Incarnation>>, Corrupt> {
        let (mut silent, mut corrupt) = (None, None);
        for at in self.places() {
            if let Err(bad) = self.clear_adder(at, liveness) {
                corrupt = corrupt.or(Some(bad));
            }
            // relaxed: the exchange in `try_take` of the value that was found decides (P1).
            let found = self.permit(at).load(Relaxed);
            if found & !SLEEPERS == 0 || found == FREE {
                continue;
            }
            let Some(holder) = Incarnation::from_word(found) else {
                corrupt = corrupt.or(Some(Corrupt {
                    word: ControlWord::Permit,
                    value: found,
                }));
                continue;
            };
            if holder == self.incarnation {
                continue; // We are alive: another thread of ours has it.
            }
            match liveness.state(holder) {
                PartitionState::Gone if self.try_take(at, found, found & SLEEPERS | flag) => {
                    return Ok(Ok(at));
                }
                PartitionState::Silent => silent = silent.or(Some(holder)),
                _ => {}
            }
        }
        // A corrupt word does not prevent the use of another permit.
        corrupt.map_or(Ok(Err(silent)), Err)
    }

    /// Releases place `at` if the incarnation that has reserved it is gone.
    fn clear_adder(&self, at: usize, liveness: &mut dyn Liveness) -> Result<(), Corrupt> {
        // relaxed: an exchange of the value that was found decides.
        let found = self.adder(at).load(Relaxed);
        if found == 0 {
            return Ok(());
        }
        let adder = incarnation_without_flag(found).ok_or(Corrupt {
            word: ControlWord::PermitAdder,
            value: found,
        })?;
        if adder != self.incarnation && liveness.is_gone(adder) {
            // Release: pairs with the exchange in `reserve`; the permit that the dead incarnation
            // may have added there is seen.
            // loom: none (the next adder has loaded the place before, and loom does not try that)
            // relaxed: on failure, the place is passed over.
            let _ = self.adder(at).compare_exchange(found, 0, Release, Relaxed);
        }
        Ok(())
    }

    /// Takes the permit at `at` if its word is `found`, which means that it is free or its holder
    /// is gone.
    #[inline]
    fn try_take(&self, at: usize, found: u32, flag: u32) -> bool {
        let ours = self.incarnation.word() | flag;
        // Acquire: pairs with the exchanges in `exchange_for_free`; the last holder of the permit
        // has finished.
        // loom: loom_semaphore::the_holder_of_a_permit_sees_the_work_of_the_last_holder
        // relaxed: on failure, the place is passed over.
        let taken = self
            .permit(at)
            .compare_exchange(found, ours, Acquire, Relaxed);
        taken.is_ok()
    }

    /// Sets the flag on every word (P3). Returns the earlier value of `ring_count`; `None` if the
    /// caller should check again, because a permit is free or a word changed.
    fn arm(&self) -> Option<u32> {
        // relaxed: the Release of each exchange below comes after it.
        let seen = self.ring_count().load(Relaxed);
        for at in self.places() {
            // relaxed: the exchange of the value that was found decides.
            let found = self.permit(at).load(Relaxed);
            if found == FREE {
                return None;
            }
            // Release: pairs with the exchange in `exchange_for_free`; we have read `ring_count`.
            // loom: loom_semaphore::a_release_changes_the_rings_that_the_sleeper_loaded
            // relaxed: on failure, the caller checks again.
            self.permit(at)
                .compare_exchange(found, found | SLEEPERS, Release, Relaxed)
                .ok()?;
        }
        Some(seen)
    }
}
