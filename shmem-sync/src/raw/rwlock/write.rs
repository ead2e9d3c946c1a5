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

    /// Ends writing. A lock that was acquired from a dead writer and is not consistent is
    /// poisoned.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this incarnation does not write; nothing is changed then.
    ///
    /// # Safety
    ///
    /// The caller writes, or knows that this incarnation does not; no guard of it and no pointer
    /// to what the lock protects is used after this.
    pub unsafe fn unlock_write(&self) -> Result<(), NotHeld> {
        self.writer.check()?;
        if health::is_suspect(self.health, self.incarnation) {
            health::poison(self.health, self.incarnation); // `clear_writing` publishes it.
        }
        self.clear_writing(self.incarnation.word());
        self.release_writer()
    }

    /// Declares what a dead writer left repaired.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this incarnation does not write.
    ///
    /// # Safety
    ///
    /// The caller writes, or knows that this incarnation does not; it has repaired the bytes.
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
            // If it was taken from us meanwhile, there is nothing to release.
            let _ = self.release_writer();
        }
        begun.map(Acquired::new)
    }

    /// From having `writer` to being inside. Whether the bytes are suspect.
    fn enter_as_writer(&self, waiter: &mut Waiter<'_>) -> Result<bool, LockFailure> {
        // relaxed: goes from one writer to the next with `writer` (L1), and is looked at again
        // after the fence.
        health::check_after_acquire(self.health.load(Relaxed), HEALTH, false)?;
        // Pairs with the fences in `check_for_writer` and `unlock_read`: `writer`
        // taken before it and the reader words loaded behind it must not pass each
        // other, or both get in, or we sleep and are not rung.
        // loom: loom_rwlock
        fence(SeqCst);
        (0..PLACES).try_for_each(|place| self.drain(place, waiter))?;
        // relaxed: a hint; the exchange below decides.
        let late = self.writing.load(Relaxed) != 0;
        let mut suspect = health::claim_if_suspect(self.health, HEALTH, &self.writer, late)?;
        // From 0, or what one that was late has left there (L3): it may have died since.
        let late = Cell::new(false);
        health::put_incarnation(self.writing, 0, &self.writer, |_| {
            late.set(true);
            Ok(())
        })?;
        if late.get() && !suspect {
            suspect = health::claim_if_suspect(self.health, HEALTH, &self.writer, true)?;
        }
        // Release: whoever sees any of what we write sees `writing` (L3), should we
        // die then.
        // loom: loom_rwlock
        fence(Release);
        Ok(suspect)
    }

    /// Waits until nobody reads at `place`.
    #[inline]
    fn drain(&self, place: usize, waiter: &mut Waiter<'_>) -> Result<(), LockFailure> {
        let reader = self.reader(place);
        loop {
            // Acquire: pairs with the exchange in `unlock_read`, directly or
            // through later exchanges (L4); all who read here are done.
            // loom: loom_rwlock
            match reader.load(Acquire) {
                0 => return Ok(()),
                found => self.wait_for_reader(reader, found, waiter)?,
            }
        }
    }

    /// Spends a turn on waiting for `found` to leave a reader word.
    #[cold]
    fn wait_for_reader(
        &self,
        reader: Word<'m>,
        found: u32,
        waiter: &mut Waiter<'_>,
    ) -> Result<(), LockFailure> {
        let holder =
            incarnation_without_flag(found).ok_or(LockFailure::Corrupt(bad_reader(found)))?;
        // We live, whatever is said of us: another thread of ours reads.
        match waiter.wait_step((holder != self.incarnation).then_some(holder)) {
            WaitStep::Again => {}
            WaitStep::Sleep => waiter.sleep(reader, found),
            WaitStep::Gone => {
                // relaxed: the load that finds 0 has the ordering, and nobody uses what a dead
                // reader has read.
                let _ = reader.compare_exchange(found, 0, Relaxed, Relaxed);
            }
            WaitStep::GiveUp(failure) => return Err(failure),
        }
        Ok(())
    }
}
