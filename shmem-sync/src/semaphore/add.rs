//! Adding permits to a semaphore, all or none.

use shmem_core::doorbell::Doorbell;
use shmem_core::primitive::Ordering::Relaxed;

use super::{Overflow, Semaphore, SLEEPERS};
use crate::layout::PERMITS;

const BITS: usize = u32::BITS as usize;

/// Words that were reserved.
struct Reserved([u32; PERMITS / BITS]);

impl Reserved {
    fn insert(&mut self, at: usize) {
        self.0[at / BITS] |= 1 << (at % BITS);
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..PERMITS).filter(|at| self.0[at / BITS] >> (at % BITS) & 1 != 0)
    }
}

impl<D: Doorbell> Semaphore<'_, D> {
    /// Adds `permits`, which nobody holds yet: all of them, or none.
    ///
    /// They are our life's until all have been found a place: a caller that dies
    /// meanwhile may leave any number of them, for those who learn of its death.
    ///
    /// # Errors
    ///
    /// [`Overflow`] if there is no room for all; nothing was added.
    pub fn add(&self, permits: usize) -> Result<(), Overflow> {
        let mut reserved = Reserved([0; PERMITS / BITS]);
        let mut room = 0;
        for at in 0..self.capacity() {
            if room == permits {
                break;
            }
            if self.reserve(at) {
                reserved.insert(at);
                room += 1;
            }
        }
        if room < permits {
            for at in reserved.iter() {
                // An error says that we were robbed of it: not ours to undo.
                let _ = self.discard(at);
            }
            return Err(Overflow {
                asked: permits,
                room,
                capacity: self.capacity(),
            });
        }
        // As above.
        let given = reserved.iter().map(|at| self.vacate(at));
        match given.filter(|given| *given == Ok(true)).count() {
            0 => {}
            1 => self.ring(D::ring),
            _ => self.ring(D::ring_all),
        }
        Ok(())
    }

    /// Makes word `at` ours if it is no permit. Relaxed: nothing was handed over.
    fn reserve(&self, at: usize) -> bool {
        let word = self.word(at);
        // With the flag second: it may be set meanwhile, not cleared (P2).
        let ours = |flag| word.compare_exchange(flag, self.life.word() | flag, Relaxed, Relaxed);
        word.load(Relaxed) & !SLEEPERS == 0 && ours(0).or_else(|_| ours(SLEEPERS)).is_ok()
    }
}
