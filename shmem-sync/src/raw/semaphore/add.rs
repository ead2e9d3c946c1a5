//! Adding permits to a semaphore, all or none.

use shmem_core::primitive::Ordering::{Acquire, Relaxed, Release};

use super::{AddError, RawSemaphore, SLEEPERS};
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

impl RawSemaphore<'_> {
    /// Adds `permits`, which nobody holds yet: all of them, or none.
    ///
    /// The places for them are reserved first. A caller that dies meanwhile has added any
    /// number of them, and what it reserved is room again as soon as somebody who finds no
    /// permit learns of its death. One that was said to be gone while it lived, and goes
    /// on, may add a permit in a place that another has reserved since: both count it.
    ///
    /// # Errors
    ///
    /// [`AddError::Overflow`] if there is no room for all; nothing was added.
    /// [`AddError::Evicted`] if this incarnation was said to be gone meanwhile.
    pub fn add(&self, permits: usize) -> Result<(), AddError> {
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
                // Evicted meanwhile, there is nothing to give back.
                let _ = self.end_reservation(at);
            }
            return Err(AddError::Overflow {
                asked: permits,
                room,
                capacity: self.capacity(),
            });
        }
        let (mut sleepers, mut evicted) = (0, false);
        for at in reserved.iter() {
            match self.put_permit(at) {
                Some(slept) => sleepers += usize::from(slept),
                None => evicted = true,
            }
        }
        match sleepers {
            0 => {}
            1 => self.ring(false),
            _ => self.ring(true),
        }
        match evicted {
            true => Err(AddError::Evicted),
            false => Ok(()),
        }
    }

    /// Makes us the one that adds a permit in place `at`, if there is none.
    fn reserve(&self, at: usize) -> bool {
        // relaxed: at first a hint; then after the Acquire below, which shows what others added.
        let is_free = || self.permit(at).load(Relaxed) & !SLEEPERS == 0;
        if !is_free() {
            return false;
        }
        let ours = self.incarnation.word();
        // Acquire: pairs with the exchange in `end_reservation`; a permit that another
        // has added here meanwhile is seen.
        // loom: loom_semaphore::two_that_add_at_once_add_all_or_nothing
        // relaxed: on failure, the place is passed over.
        let reserved = self.adder(at).compare_exchange(0, ours, Acquire, Relaxed);
        if reserved.is_ok() && !is_free() {
            let _ = self.end_reservation(at);
            return false;
        }
        reserved.is_ok()
    }

    /// Puts a permit of nobody's into place `at`, which is reserved for us. Whether
    /// somebody may sleep for it; `None` if it was reserved no longer.
    fn put_permit(&self, at: usize) -> Option<bool> {
        let put = self.exchange_for_free(at, 0);
        let ours = self.end_reservation(at);
        put.ok().filter(|_| ours)
    }

    /// Gives place `at` back. Whether it was still ours.
    fn end_reservation(&self, at: usize) -> bool {
        // Release: pairs with the exchange in `reserve`; a permit that we have put there
        // is seen. Failed, we were said to be gone: not ours to undo.
        // loom: loom_semaphore::two_that_add_at_once_add_all_or_nothing
        // relaxed: on failure, nothing is read.
        let ended = self
            .adder(at)
            .compare_exchange(self.incarnation.word(), 0, Release, Relaxed);
        ended.is_ok()
    }
}
