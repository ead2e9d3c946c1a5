//! Adding permits to a semaphore, all or none.

use shmem_core::doorbell::Doorbell;
use shmem_core::primitive::Ordering::{Acquire, Relaxed, Release};

use super::{Overflow, Semaphore, SLEEPERS};
use crate::layout::PERMITS;

const BITS: usize = u32::BITS as usize;

/// Places that were reserved.
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
    /// The places for them are reserved first. A caller that dies meanwhile has added any
    /// number of them, and what it reserved is room again as soon as somebody who finds no
    /// permit learns of its death. One that was said to be gone while it lived, and goes
    /// on, may add a permit in a place that another has reserved since: both count it.
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
            reserved.iter().for_each(|at| self.end_reservation(at));
            return Err(Overflow {
                asked: permits,
                room,
                capacity: self.capacity(),
            });
        }
        match reserved.iter().filter(|&at| self.put_permit(at)).count() {
            0 => {}
            1 => self.ring(D::ring),
            _ => self.ring(D::ring_all),
        }
        Ok(())
    }

    /// Makes us the one that adds a permit in place `at`, if there is none.
    fn reserve(&self, at: usize) -> bool {
        let is_free = || self.permit(at).load(Relaxed) & !SLEEPERS == 0;
        if !is_free() {
            return false;
        }
        let ours = self.life.word();
        // Acquire: pairs with the exchange in `end_reservation`; a permit that another
        // has added here meanwhile is seen.
        // loom: loom_semaphore::two_that_add_at_once_add_all_or_nothing
        let reserved = self.adder(at).compare_exchange(0, ours, Acquire, Relaxed);
        if reserved.is_ok() && !is_free() {
            self.end_reservation(at);
            return false;
        }
        reserved.is_ok()
    }

    /// Puts a permit of nobody's into place `at`, which is reserved for us. Whether
    /// somebody may sleep for it.
    fn put_permit(&self, at: usize) -> bool {
        let slept = self.exchange_for_free(at, 0) == Ok(true);
        self.end_reservation(at);
        slept
    }

    /// Gives place `at` back.
    fn end_reservation(&self, at: usize) {
        // Release: pairs with the exchange in `reserve`; a permit that we have put there
        // is seen. Failed, we were said to be gone: not ours to undo.
        // loom: loom_semaphore::two_that_add_at_once_add_all_or_nothing
        let _ = self
            .adder(at)
            .compare_exchange(self.life.word(), 0, Release, Relaxed);
    }
}
