//! Reading under a reader-writer lock.

use shmem_core::doorbell::Doorbell;
use shmem_core::primitive::{
    fence,
    Ordering::{Relaxed, Release, SeqCst},
};
use shmem_core::wait::Wait;
use shmem_core::Window;

use super::{bad_reader, RwLock, HEALTH, PLACES};
use crate::error::{LockError, LockResult, NotHeld, Refusal};
use crate::health;
use crate::owner::{not_held, plain};
use crate::vigil::{Turn, Vigil};
use crate::Liveness;

impl<'m, D: Doorbell> RwLock<'m, D> {
    /// Reads if nobody writes or waits to.
    ///
    /// # Errors
    ///
    /// As [`RwLock::read`], but [`LockError::Busy`] instead of waiting.
    pub fn try_read<L: Liveness>(&self, liveness: &mut L) -> LockResult<ReadGuard<'_, 'm, D>> {
        self.enter(&mut Vigil::once(liveness))
    }

    /// Reads, and waits for writers to leave until the deadline of `wait`; one that
    /// has passed leaves time for one look.
    ///
    /// # Errors
    ///
    /// [`LockError::OwnerDied`] with the guard if a writer died inside and no other
    /// writer has repaired it yet; [`LockError::Poisoned`] if nobody did when it was
    /// their turn; [`LockError::TimedOut`] at the deadline, or
    /// [`LockError::HolderSilent`] if the writer is silent then; [`LockError::Corrupt`]
    /// if a partition broke the protocol, and no reader word can be claimed for it.
    pub fn read<W: Wait, L: Liveness>(
        &self,
        wait: &mut W,
        liveness: &mut L,
    ) -> LockResult<ReadGuard<'_, 'm, D>> {
        self.enter(&mut Vigil::long(wait, liveness))
    }

    /// Ends the reading of the guard that had this [`place`](ReadGuard::place), for
    /// callers that forgot it because they cannot keep it.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this life does not read there; nothing is changed then.
    pub fn release_read(&self, place: usize) -> Result<(), NotHeld> {
        if place >= PLACES {
            return Err(NotHeld { holder: None });
        }
        let reader = self.reader(place);
        // Release: pairs with the load in `drain`; we are done reading.
        // loom: loom_rwlock
        // relaxed: on failure, this life did not read there.
        let left = reader.compare_exchange(self.life.word(), 0, Release, Relaxed);
        left.map_err(not_held)?;
        // Pairs with the fence in `write`: the reader word freed before it and
        // `writer` loaded behind it must not pass each other, or a writer that fell
        // asleep meanwhile is not rung.
        fence(SeqCst); // loom: loom_rwlock
        if self.writer.glance() != 0 {
            self.bell.ring(reader.as_atomic());
        }
        Ok(())
    }

    fn enter(&self, vigil: &mut Vigil<'_>) -> LockResult<ReadGuard<'_, 'm, D>> {
        loop {
            let found = match self.writer.glance() {
                0 => match self.claim(vigil).map_err(LockError::of)? {
                    Some(place) => match self.look_for_writer(place) {
                        0 => return self.admit(place),
                        found => found,
                    },
                    None => {
                        self.wait_for_place(vigil).map_err(LockError::of)?;
                        continue;
                    }
                },
                found => found,
            };
            if self.writer.turn(found, vigil).map_err(LockError::of)? {
                // Its word is ours until what it left is in order. Robbed of it in
                // turn, we have nothing to give back.
                self.inherit();
                let _ = self.give_writer();
            }
        }
    }

    /// Claims a reader word that is free, or else one whose life is gone.
    fn claim(&self, vigil: &mut Vigil<'_>) -> Result<Option<usize>, Refusal> {
        let start = usize::from(self.life.partition()) - 1;
        let mut places = (0..PLACES).map(|step| (start + step) % PLACES);
        // relaxed in all of this: the bytes come with `writer`; `look_for_writer` has the fence. A
        // reader that left continues in this exchange (L4).
        let claim = |place, found| {
            let reader = self.reader(place);
            let claimed = reader.compare_exchange(found, self.life.word(), Relaxed, Relaxed);
            claimed.is_ok()
        };
        if let Some(place) = places.clone().find(|&place| claim(place, 0)) {
            return Ok(Some(place));
        }
        let mut corrupt = None;
        let left = |&place: &usize| {
            // relaxed: an exchange of the value that was found decides (L4).
            let found = self.reader(place).load(Relaxed);
            match plain(found) {
                Some(life) => life != self.life && vigil.is_gone(life) && claim(place, found),
                None if found == 0 => false,
                None => {
                    corrupt = Some(bad_reader(found));
                    false
                }
            }
        };
        match (places.find(left), corrupt) {
            (None, Some(corrupt)) => Err(LockError::Corrupt(corrupt)),
            (place, _) => Ok(place),
        }
    }

    /// What `writer` is behind our claim of `place`, which is given back unless that is 0 (L2).
    fn look_for_writer(&self, place: usize) -> u32 {
        // Pairs with the fence in `write`: the reader word claimed before it and
        // `writer` loaded behind it must not pass each other, or both get in.
        fence(SeqCst); // loom: loom_rwlock
        let found = self.writer.look();
        if found != 0 {
            let reader = self.reader(place);
            // relaxed: we have read nothing, and the exchange continues what the last reader
            // released (L4).
            let _ = reader.compare_exchange(self.life.word(), 0, Relaxed, Relaxed);
            self.bell.ring(reader.as_atomic());
        }
        found
    }

    /// Spends a turn while 128 others read.
    fn wait_for_place(&self, vigil: &mut Vigil<'_>) -> Result<(), Refusal> {
        match vigil.turn(None) {
            Turn::GiveUp(refusal) => Err(refusal),
            Turn::Sleep => {
                // Until a re-check: readers ring nobody but a writer.
                vigil.sleep(self.writer.word(), 0);
                Ok(())
            }
            Turn::Again | Turn::Gone => Ok(()),
        }
    }

    fn admit(&self, place: usize) -> LockResult<ReadGuard<'_, 'm, D>> {
        let guard = ReadGuard { lock: self, place };
        // relaxed: comes with `writer`, and after the fence in `look_for_writer`.
        match health::examine(self.health.load(Relaxed), HEALTH, false) {
            Ok(false) => Ok(guard),
            Ok(true) => Err(LockError::OwnerDied(guard)),
            Err(refusal) => Err(refusal.of()),
        }
    }
}

/// The lock is had for reading; dropped, it is given back.
#[must_use = "the lock is given back at once if the guard is dropped"]
pub struct ReadGuard<'l, 'm, D: Doorbell> {
    lock: &'l RwLock<'m, D>,
    place: usize,
}

impl<'m, D: Doorbell> ReadGuard<'_, 'm, D> {
    /// The protected bytes, to be read: nobody changes them meanwhile.
    pub fn data(&self) -> Window<'m> {
        self.lock.data
    }

    /// Which reader word is this guard's, for [`RwLock::release_read`].
    pub fn place(&self) -> usize {
        self.place
    }

    /// Gives the lock back.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this life was said to be gone: what it read may be a mixture.
    pub fn unlock(self) -> Result<(), NotHeld> {
        let given = self.lock.release_read(self.place);
        core::mem::forget(self);
        given
    }
}

impl<D: Doorbell> Drop for ReadGuard<'_, '_, D> {
    fn drop(&mut self) {
        // Nobody to tell that it was not held any more: who wants to know unlocks.
        let _ = self.lock.release_read(self.place);
    }
}
