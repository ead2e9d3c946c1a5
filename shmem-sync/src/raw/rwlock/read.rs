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

/// How the lock was acquired for reading, and the place of the reader word that
/// [`RawRwLock::unlock_read`] is called with.
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

    /// As [`RwLock::read`](crate::RwLock::read). Returns also the place of the reader
    /// word, which [`RawRwLock::unlock_read`] is called with.
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

    /// Ends the reading that has this place.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this incarnation does not read there; nothing is changed then.
    ///
    /// # Safety
    ///
    /// The caller reads at this place, or knows that this incarnation does not; no guard of it and
    /// no pointer to what the lock protects is used after this.
    pub unsafe fn unlock_read(&self, place: usize) -> Result<(), NotHeld> {
        match place < PLACES {
            true => self.release_reader(place),
            false => Err(NotHeld { holder: None }),
        }
    }

    fn release_reader(&self, place: usize) -> Result<(), NotHeld> {
        let reader = self.reader(place);
        // Release: pairs with the load in `drain`; we are done reading.
        // loom: loom_rwlock
        // relaxed: on failure, this incarnation did not read there.
        let left = reader.compare_exchange(self.incarnation.word(), 0, Release, Relaxed);
        left.map_err(not_held)?;
        // Pairs with the fence in `write`: the reader word freed before it and
        // `writer` loaded behind it must not pass each other, or a writer that fell
        // asleep meanwhile is not rung.
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
                // Its word is ours until what it left is in order. If it was taken from us
                // in turn, there is nothing to release.
                self.recover_dead_writer();
                let _ = self.release_writer();
            }
        }
    }

    /// Claims a reader word that is free, or else one whose incarnation is gone.
    fn claim_reader_word(&self, waiter: &mut Waiter<'_>) -> Result<Option<usize>, LockFailure> {
        let start = usize::from(self.incarnation.partition()) - 1;
        let mut places = (0..PLACES).map(|step| (start + step) % PLACES);
        // relaxed in all of this: the bytes come with `writer`; `check_for_writer` has the fence. A
        // reader that left continues in this exchange (L4).
        let claim = |place, found| {
            let reader = self.reader(place);
            let claimed = reader.compare_exchange(found, self.incarnation.word(), Relaxed, Relaxed);
            claimed.is_ok()
        };
        if let Some(place) = places.clone().find(|&place| claim(place, 0)) {
            return Ok(Some(place));
        }
        let mut corrupt = None;
        let left = |&place: &usize| {
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
        match (places.find(left), corrupt) {
            (None, Some(corrupt)) => Err(LockFailure::Corrupt(corrupt)),
            (place, _) => Ok(place),
        }
    }

    /// What `writer` is behind our claim of `place`, which is given back unless that is 0 (L2).
    fn check_for_writer(&self, place: usize) -> u32 {
        // Pairs with the fence in `write`: the reader word claimed before it and
        // `writer` loaded behind it must not pass each other, or both get in.
        // loom: loom_rwlock
        fence(SeqCst);
        let found = self.writer.load_acquire();
        if found != 0 {
            let reader = self.reader(place);
            // relaxed: we have read nothing, and the exchange continues what the last reader
            // released (L4).
            let _ = reader.compare_exchange(self.incarnation.word(), 0, Relaxed, Relaxed);
            self.bell.ring(reader.as_atomic());
        }
        found
    }

    /// Spends a turn while 128 others read.
    fn wait_for_place(&self, waiter: &mut Waiter<'_>) -> Result<(), LockFailure> {
        match waiter.wait_step(None) {
            WaitStep::GiveUp(failure) => Err(failure),
            WaitStep::Sleep => {
                // Until a re-check: readers ring nobody but a writer.
                waiter.sleep(self.writer.word(), 0);
                Ok(())
            }
            WaitStep::Again | WaitStep::Gone => Ok(()),
        }
    }

    /// Checks what a reader at `place` has acquired.
    // relaxed in all of this: `health` and `writing` come with `writer`, after the fence in
    // `check_for_writer`.
    fn finish_read(&self, place: usize) -> Result<Reading, LockFailure> {
        // Nobody writes now: what is in `writing` was left by a writer that was late (L3).
        let late = self.writing.load(Relaxed) != 0;
        let checked = health::check_after_acquire(self.health.load(Relaxed), HEALTH, late);
        if checked.is_err() {
            // If this incarnation was taken for gone meanwhile, there is nothing to release.
            let _ = self.release_reader(place);
        }
        checked.map(|suspect| (Acquired::new(suspect), place))
    }
}
