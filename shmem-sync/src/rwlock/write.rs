//! Writing under a reader-writer lock.

use shmem_core::doorbell::Doorbell;
use shmem_core::mem::Word;
use shmem_core::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use shmem_core::wait::Wait;
use shmem_core::Window;

use super::{bad_reader, RwLock, HEALTH, PLACES};
use crate::error::{LockError, LockResult, NotHeld, Refusal};
use crate::health;
use crate::owner::plain;
use crate::vigil::{Turn, Vigil};
use crate::Liveness;

impl<'m, D: Doorbell> RwLock<'m, D> {
    /// Writes if nobody reads or writes. Readers that come while it looks are kept out.
    ///
    /// # Errors
    ///
    /// As [`RwLock::write`], but [`LockError::Busy`] instead of waiting.
    pub fn try_write<L: Liveness>(&self, liveness: &mut L) -> LockResult<WriteGuard<'_, 'm, D>> {
        self.enter_alone(&mut Vigil::once(liveness))
    }

    /// Writes, and waits until the deadline of `wait` for others to leave; one that
    /// has passed leaves time for one look.
    ///
    /// Nobody waits for readers and writers that are gone. For silent ones it waits.
    ///
    /// # Errors
    ///
    /// [`LockError::OwnerDied`] with the guard if a writer died inside;
    /// [`LockError::Poisoned`] if nobody repaired what such a one left;
    /// [`LockError::TimedOut`] at the deadline, or [`LockError::HolderSilent`] if who is
    /// waited for then is silent; [`LockError::Corrupt`] if a partition broke the protocol.
    pub fn write<W: Wait, L: Liveness>(
        &self,
        wait: &mut W,
        liveness: &mut L,
    ) -> LockResult<WriteGuard<'_, 'm, D>> {
        self.enter_alone(&mut Vigil::long(wait, liveness))
    }

    /// Gives the lock back without its guard, as a guard that is dropped does: for
    /// callers that forgot it because they cannot keep it.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this life does not write; nothing is changed then.
    pub fn release_write(&self) -> Result<(), NotHeld> {
        self.writer.check()?;
        self.leave(health::is_suspect(self.health, self.life))
    }

    /// Says without the guard that the bytes are whole again.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this life does not write.
    pub fn make_consistent(&self) -> Result<(), NotHeld> {
        self.writer.check()?;
        health::repair(self.health, self.life);
        Ok(())
    }

    fn enter_alone(&self, vigil: &mut Vigil<'_>) -> LockResult<WriteGuard<'_, 'm, D>> {
        let free = self.writer.seize();
        if !free && self.writer.take(vigil).map_err(LockError::of)? {
            self.inherit();
        }
        match self.begin(vigil) {
            Ok(suspect) => {
                let guard = WriteGuard {
                    lock: self,
                    suspect,
                };
                match suspect {
                    false => Ok(guard),
                    true => Err(LockError::OwnerDied(guard)),
                }
            }
            Err(refusal) => {
                // Robbed of it meanwhile, we have nothing to give back.
                let _ = self.give_writer();
                Err(refusal.of())
            }
        }
    }

    /// From having `writer` to being inside. Whether the bytes are suspect.
    fn begin(&self, vigil: &mut Vigil<'_>) -> Result<bool, Refusal> {
        // relaxed: goes from one writer to the next with `writer` (L1), and is looked at again
        // after the fence.
        health::examine(self.health.load(Relaxed), HEALTH, false)?;
        // Pairs with the fences in `look_for_writer` and `release_read`: `writer`
        // taken before it and the reader words loaded behind it must not pass each
        // other, or both get in, or we sleep and are not rung.
        fence(SeqCst); // loom: loom_rwlock
        (0..PLACES).try_for_each(|place| self.drain(place, vigil))?;
        let suspect = health::take_on(self.health, HEALTH, &self.writer, false)?;
        // From 0, or what one that was late has left there (L3).
        health::put_life(self.writing, 0, &self.writer, |_| Ok(()))?;
        // Release: whoever sees any of what we write sees `writing` (L3), should we
        // die then.
        fence(Release); // loom: loom_rwlock
        Ok(suspect)
    }

    /// Waits until nobody reads at `place`.
    #[inline]
    fn drain(&self, place: usize, vigil: &mut Vigil<'_>) -> Result<(), Refusal> {
        let reader = self.reader(place);
        loop {
            // Acquire: pairs with the exchange in `release_read`, directly or
            // through later exchanges (L4); all who read here are done.
            // loom: loom_rwlock
            match reader.load(Acquire) {
                0 => return Ok(()),
                found => self.wait_for_reader(reader, found, vigil)?,
            }
        }
    }

    /// Spends a turn on waiting for `found` to leave a reader word.
    #[cold]
    fn wait_for_reader(
        &self,
        reader: Word<'m>,
        found: u32,
        vigil: &mut Vigil<'_>,
    ) -> Result<(), Refusal> {
        let holder = plain(found).ok_or(LockError::Corrupt(bad_reader(found)))?;
        // We live, whatever is said of us: another thread of ours reads.
        match vigil.turn((holder != self.life).then_some(holder)) {
            Turn::Again => {}
            Turn::Sleep => vigil.sleep(reader, found),
            Turn::Gone => {
                // relaxed: the load that finds 0 has the ordering, and nobody uses what a dead
                // reader has read.
                let _ = reader.compare_exchange(found, 0, Relaxed, Relaxed);
            }
            Turn::GiveUp(refusal) => return Err(refusal),
        }
        Ok(())
    }

    fn leave(&self, suspect: bool) -> Result<(), NotHeld> {
        self.writer.check()?;
        if suspect {
            health::poison(self.health, self.life); // `done` publishes it.
        }
        self.done(self.life.word());
        self.give_writer()
    }
}

/// The lock is had for writing; dropped, it is given back.
///
/// Dropped or given back by one that was warned and did not
/// [`make_consistent`](WriteGuard::make_consistent), it poisons the lock.
#[must_use = "the lock is given back at once if the guard is dropped"]
pub struct WriteGuard<'l, 'm, D: Doorbell> {
    lock: &'l RwLock<'m, D>,
    /// Whether a writer's death is not made good.
    suspect: bool,
}

impl<'m, D: Doorbell> WriteGuard<'_, 'm, D> {
    /// The protected bytes: the caller's alone as long as it has the lock.
    pub fn data(&self) -> Window<'m> {
        self.lock.data
    }

    /// Says that what a dead writer left is repaired. One that was meanwhile said to
    /// be gone changes nothing by it, and learns it from [`WriteGuard::unlock`].
    pub fn make_consistent(&mut self) {
        if self.lock.make_consistent().is_ok() {
            self.suspect = false;
        }
    }

    /// Gives the lock back.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this life was said to be gone and the lock taken from it: others
    /// were inside meanwhile.
    pub fn unlock(self) -> Result<(), NotHeld> {
        let given = self.lock.leave(self.suspect);
        core::mem::forget(self);
        given
    }
}

impl<D: Doorbell> Drop for WriteGuard<'_, '_, D> {
    fn drop(&mut self) {
        // Nobody to tell that it was not held any more: who wants to know unlocks.
        let _ = self.lock.leave(self.suspect);
    }
}
