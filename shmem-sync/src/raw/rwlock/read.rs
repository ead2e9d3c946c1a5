//! Reading under a reader-writer lock.

use shmem_core::primitive::{
    fence,
    Ordering::{Relaxed, Release, SeqCst},
};
use shmem_core::wait::Wait;

use super::{bad_reader, RawRwLock, HEALTH, PLACES};
use crate::error::{Acquired, LockFailure, NotHeld};
use crate::health;
use crate::owner::{incarnation_without_flag, not_held};
use crate::waiter::{WaitStep, Waiter};
use crate::Liveness;

/// How the lock was acquired for reading, and the index of the reader word, the argument of
/// [`RawRwLock::unlock_read`].
type Reading = (Acquired, usize);

impl RawRwLock<'_> {
    /// As [`RwLock::try_read`](crate::RwLock::try_read).
    ///
    /// # Errors
    ///
    /// As [`RawRwLock::read`], but [`LockFailure::Busy`] instead of waiting.
    pub fn try_read<L: Liveness>(&self, liveness: &mut L) -> Result<Reading, LockFailure> {
        self.read_with(&mut Waiter::without_waiting(liveness))
    }

    /// As [`RwLock::read`](crate::RwLock::read). Also returns the index of the reader word, the
    /// argument of [`RawRwLock::unlock_read`].
    ///
    /// # Errors
    ///
    /// [`LockFailure`], with the meaning it has there.
    pub fn read<W: Wait, L: Liveness>(
        &self,
        wait: &mut W,
        liveness: &mut L,
    ) -> Result<Reading, LockFailure> {
        self.read_with(&mut Waiter::new(wait, liveness))
    }

    /// Unlocks the reader word with this index.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this incarnation does not have that word; then nothing is changed.
    ///
    /// # Safety
    ///
    /// The caller has this reader word, or relies on the error because this incarnation does not
    /// have it. No guard of it and no pointer to what the lock protects is used after this.
    pub unsafe fn unlock_read(&self, place: usize) -> Result<(), NotHeld> {
        match place < PLACES {
            true => self.release_reader(place),
            false => Err(NotHeld { holder: None }),
        }
    }

    fn release_reader(&self, place: usize) -> Result<(), NotHeld> {
        let reader = self.reader(place);
        // Release: pairs with the load in `drain`; we have finished reading.
        // loom: loom_rwlock
        // relaxed: on failure, this incarnation did not read there.
        let left = reader.compare_exchange(self.incarnation.word(), 0, Release, Relaxed);
        left.map_err(not_held)?;
        // Pairs with the fence in `enter_as_writer`: the exchange of the reader word before it and
        // the load of `writer` after it must not be reordered. Otherwise a writer that fell asleep
        // meanwhile is not rung.
        // loom: loom_rwlock
        fence(SeqCst);
        if self.writer.load_relaxed() != 0 {
            self.bell.ring(reader.as_atomic());
        }
        Ok(())
    }

    fn read_with(&self, waiter: &mut Waiter<'_>) -> Result<Reading, LockFailure> {
        loop {
            let found = match self.writer.load_relaxed() {
                0 => match self.claim_reader_word(waiter)? {
                    Some(place) => match self.check_for_writer(place) {
                        0 => return self.finish_read(place),
                        found => found,
                    },
                    None => {
                        self.wait_for_place(waiter)?;
                        continue;
                    }
                },
                found => found,
            };
            if self.writer.wait_step(found, waiter)? {
                // We have its word until the lock is recovered. If another took the word from us,
                // there is nothing to release.
                self.recover_dead_writer();
                let _ = self.release_writer();
            }
        }
    }

    /// Claims a reader word that is free, otherwise one whose incarnation is gone.
    fn claim_reader_word(&self, waiter: &mut Waiter<'_>) -> Result<Option<usize>, LockFailure> {
        let start = usize::from(self.incarnation.partition()) - 1;
        let mut places = (0..PLACES).map(|step| (start + step) % PLACES);
        // relaxed in all of this: the bytes come with `writer`, and `check_for_writer` has the
        // fence. This exchange continues the release sequence of a reader that left (L4).
        let claim = |place, found| {
            let reader = self.reader(place);
            let claimed = reader.compare_exchange(found, self.incarnation.word(), Relaxed, Relaxed);
            claimed.is_ok()
        };
        if let Some(place) = places.clone().find(|&place| claim(place, 0)) {
            return Ok(Some(place));
        }
        let mut corrupt = None;
        let is_left_behind = |&place: &usize| {
            // relaxed: an exchange of the value that was found decides (L4).
            let found = self.reader(place).load(Relaxed);
            match incarnation_without_flag(found) {
                Some(incarnation) => {
                    incarnation != self.incarnation
                        && waiter.is_gone(incarnation)
                        && claim(place, found)
                }
                None if found == 0 => false,
                None => {
                    corrupt = Some(bad_reader(found));
                    false
                }
            }
        };
        match (places.find(is_left_behind), corrupt) {
            (None, Some(corrupt)) => Err(LockFailure::Corrupt(corrupt)),
            (place, _) => Ok(place),
        }
    }

    /// Loads `writer` after our claim of `place`. Unless it is 0, releases the claim (L2). Returns
    /// it.
    fn check_for_writer(&self, place: usize) -> u32 {
        // Pairs with the fence in `enter_as_writer`: the claim of the reader word before it and the
        // load of `writer` after it must not be reordered, or both get in.
        // loom: loom_rwlock
        fence(SeqCst);
        let found = self.writer.load_acquire();
        if found != 0 {
            let reader = self.reader(place);
            // relaxed: we have read nothing, and the exchange continues the release sequence of the
            // last reader (L4).
            let _ = reader.compare_exchange(self.incarnation.word(), 0, Relaxed, Relaxed);
            self.bell.ring(reader.as_atomic());
        }
        found
    }

    /// Waits one step while 128 others read.
    fn wait_for_place(&self, waiter: &mut Waiter<'_>) -> Result<(), LockFailure> {
        match waiter.wait_step(None) {
            WaitStep::GiveUp(failure) => Err(failure),
            WaitStep::Sleep => {
                // Until a re-check: readers ring only writers.
                waiter.sleep(self.writer.word(), 0);
                Ok(())
            }
            WaitStep::Again | WaitStep::Gone => Ok(()),
        }
    }

    /// Checks the health of the lock for a reader that has the reader word `place`.
    // relaxed in all of this: `health` and `writing` come with `writer`, after the fence in
    // `check_for_writer`.
    fn finish_read(&self, place: usize) -> Result<Reading, LockFailure> {
        // No partition writes now: a writer that was late left the value in `writing` (L3).
        let late = self.writing.load(Relaxed) != 0;
        let checked = health::check_after_acquire(self.health.load(Relaxed), HEALTH, late);
        if checked.is_err() {
            // If this incarnation was treated as gone meanwhile, there is nothing to release.
            let _ = self.release_reader(place);
        }
        checked.map(|suspect| (Acquired::new(suspect), place))
    }
}
