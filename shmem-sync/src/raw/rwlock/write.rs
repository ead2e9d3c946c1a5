//! Writing under a reader-writer lock.

use core::cell::Cell;
use shmem_core::mem::Word;

use shmem_core::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use shmem_core::wait::Wait;

use super::{bad_reader, RawRwLock, HEALTH, PLACES};
use crate::error::{Acquired, LockFailure, NotHeld};
use crate::health;
use crate::owner::incarnation_without_flag;
use crate::waiter::{WaitStep, Waiter};
use crate::Liveness;

impl<'m> RawRwLock<'m> {
    /// As [`RwLock::try_write`](crate::RwLock::try_write).
    ///
    /// # Errors
    ///
    /// As [`RawRwLock::write`], but [`LockFailure::Busy`] instead of waiting.
    pub fn try_write<L: Liveness>(&self, liveness: &mut L) -> Result<Acquired, LockFailure> {
        self.write_with(&mut Waiter::without_waiting(liveness))
    }

    /// As [`RwLock::write`](crate::RwLock::write).
    ///
    /// # Errors
    ///
    /// [`LockFailure`], with the meaning it has there.
    pub fn write<W: Wait, L: Liveness>(
        &self,
        wait: &mut W,
        liveness: &mut L,
    ) -> Result<Acquired, LockFailure> {
        self.write_with(&mut Waiter::new(wait, liveness))
    }

    /// Unlocks a lock that is locked for writing. If it was acquired from a dead writer and not
    /// declared consistent, it is poisoned.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this incarnation does not write; then nothing is changed.
    ///
    /// # Safety
    ///
    /// The caller writes, or relies on the error because this incarnation does not. No guard of it
    /// and no pointer to what the lock protects is used after this.
    pub unsafe fn unlock_write(&self) -> Result<(), NotHeld> {
        self.writer.check()?;
        if health::is_suspect(self.health, self.incarnation) {
            health::poison(self.health, self.incarnation); // `clear_writing` publishes it.
        }
        self.clear_writing(self.incarnation.word());
        self.release_writer()
    }

    /// Declares that the data that a dead writer left is repaired.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this incarnation does not write.
    ///
    /// # Safety
    ///
    /// The caller writes and has repaired the bytes, or relies on the error because this
    /// incarnation does not write.
    pub unsafe fn make_consistent(&self) -> Result<(), NotHeld> {
        self.writer.check()?;
        health::repair(self.health, self.incarnation);
        Ok(())
    }

    fn write_with(&self, waiter: &mut Waiter<'_>) -> Result<Acquired, LockFailure> {
        let free = self.writer.try_acquire();
        if !free && self.writer.acquire(waiter)? {
            self.recover_dead_writer();
        }
        let begun = self.enter_as_writer(waiter);
        if begun.is_err() {
            // If another has taken it over meanwhile, there is nothing to release.
            let _ = self.release_writer();
        }
        begun.map(Acquired::new)
    }

    /// Enters the lock; the caller has `writer`. Returns true if the bytes are suspect.
    fn enter_as_writer(&self, waiter: &mut Waiter<'_>) -> Result<bool, LockFailure> {
        // relaxed: goes from one writer to the next with `writer` (L1), and is checked again after
        // the fence.
        health::check_after_acquire(self.health.load(Relaxed), HEALTH, false)?;
        // Pairs with the fences in `check_for_writer` and `release_reader`: the exchange of
        // `writer` before it and the loads of the reader words after it must not be reordered.
        // Otherwise both get in, or we sleep and are not rung.
        // loom: loom_rwlock
        fence(SeqCst);
        (0..PLACES).try_for_each(|place| self.drain(place, waiter))?;
        // relaxed: a hint; the exchange below decides.
        let late = self.writing.load(Relaxed) != 0;
        let mut suspect = health::claim_if_suspect(self.health, HEALTH, &self.writer, late)?;
        // Exchanges 0, or a value that a late writer has left there (L3), which may have died
        // since.
        let late = Cell::new(false);
        health::put_incarnation(self.writing, 0, &self.writer, |_| {
            late.set(true);
            Ok(())
        })?;
        if late.get() && !suspect {
            suspect = health::claim_if_suspect(self.health, HEALTH, &self.writer, true)?;
        }
        // Release: a partition that sees any of our writes to the bytes sees `writing` (L3), in
        // case we die then.
        // loom: loom_rwlock
        fence(Release);
        Ok(suspect)
    }

    /// Waits until the reader word `place` is free.
    #[inline]
    fn drain(&self, place: usize, waiter: &mut Waiter<'_>) -> Result<(), LockFailure> {
        let reader = self.reader(place);
        loop {
            // Acquire: pairs with the exchange in `release_reader`, directly or through later
            // exchanges (L4); all that read here have finished.
            // loom: loom_rwlock
            match reader.load(Acquire) {
                0 => return Ok(()),
                found => self.wait_for_reader(reader, found, waiter)?,
            }
        }
    }

    /// Waits one step for a reader word to change from `found`.
    #[cold]
    fn wait_for_reader(
        &self,
        reader: Word<'m>,
        found: u32,
        waiter: &mut Waiter<'_>,
    ) -> Result<(), LockFailure> {
        let holder =
            incarnation_without_flag(found).ok_or(LockFailure::Corrupt(bad_reader(found)))?;
        // We are alive, whatever `Liveness` reports: another thread of ours reads.
        match waiter.wait_step((holder != self.incarnation).then_some(holder)) {
            WaitStep::Again => {}
            WaitStep::Sleep => waiter.sleep(reader, found),
            WaitStep::Gone => {
                // relaxed: the load that finds 0 has the ordering, and a dead reader hands nothing
                // over.
                let _ = reader.compare_exchange(found, 0, Relaxed, Relaxed);
            }
            WaitStep::GiveUp(failure) => return Err(failure),
        }
        Ok(())
    }
}
