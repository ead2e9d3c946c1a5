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
    /// Adds this number of free permits: all of them, or none.
    ///
    /// The places for them are reserved first. A caller that dies meanwhile has added some of them.
    /// The places that it reserved become free again when a partition that finds no permit learns
    /// of its death. A caller that ran but was treated as gone may add a permit late, in a place
    /// that another has reserved since: both count it.
    ///
    /// # Errors
    ///
    /// [`AddError::Overflow`] if there is no room for all; nothing was added. [`AddError::Evicted`]
    /// if this incarnation was treated as gone meanwhile.
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
                // If we were evicted meanwhile, there is nothing to release.
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

    /// Reserves place `at` for our addition, if it has no permit. Returns true if it did.
    fn reserve(&self, at: usize) -> bool {
        // relaxed: at first a hint; later after the Acquire below, which makes the permits of
        // others visible.
        let is_free = || self.permit(at).load(Relaxed) & !SLEEPERS == 0;
        if !is_free() {
            return false;
        }
        let ours = self.incarnation.word();
        // Acquire: pairs with the exchange in `end_reservation`; a permit that another has added
        // here meanwhile is seen.
        // loom: loom_semaphore::two_partitions_that_add_at_once_each_add_all_or_nothing
        // relaxed: on failure, the place is passed over.
        let reserved = self.adder(at).compare_exchange(0, ours, Acquire, Relaxed);
        if reserved.is_ok() && !is_free() {
            let _ = self.end_reservation(at);
            return false;
        }
        reserved.is_ok()
    }

    /// Adds a free permit at place `at`, which is reserved for us. Returns true if a partition may
    /// sleep for it; `None` if the place was no longer reserved for us.
    fn put_permit(&self, at: usize) -> Option<bool> {
        let put = self.exchange_for_free(at, 0);
        let ours = self.end_reservation(at);
        put.ok().filter(|_| ours)
    }

    /// Releases place `at`. Returns true if it was still ours.
    fn end_reservation(&self, at: usize) -> bool {
        // Release: pairs with the exchange in `reserve`; a permit that we have added there is seen.
        // If the exchange fails, we were treated as gone, and another has the place.
        // loom: loom_semaphore::two_partitions_that_add_at_once_each_add_all_or_nothing
        // relaxed: on failure, nothing is read.
        let ended = self
            .adder(at)
            .compare_exchange(self.incarnation.word(), 0, Release, Relaxed);
        ended.is_ok()
    }
}
