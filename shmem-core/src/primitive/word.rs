//! A control word, with the hooks around each access.

use super::hooks::{clean, invalidate, store_happens};
use super::{AtomicU32, Ordering};

/// A control word in shared memory, in memory byte order.
#[derive(Clone, Copy)]
pub(crate) struct SharedWord<'m>(&'m AtomicU32);

impl<'m> SharedWord<'m> {
    #[inline(always)]
    pub(super) fn new(atomic: &'m AtomicU32) -> Self {
        Self(atomic)
    }

    #[inline(always)]
    pub(crate) fn load(self, order: Ordering) -> u32 {
        invalidate(self.at(), 4);
        self.0.load(order)
    }

    #[inline(always)]
    pub(crate) fn store(self, value: u32, order: Ordering) {
        if store_happens() {
            // The clean writes the whole line back: take a peer's words in it from memory first.
            invalidate(self.at(), 4);
            self.0.store(value, order);
            clean(self.at(), 4);
        }
    }

    /// # Errors
    ///
    /// The value found, if it is not `current`.
    #[inline]
    pub(crate) fn compare_exchange(
        self,
        current: u32,
        new: u32,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u32, u32> {
        if !store_happens() {
            return Err(self.load(failure));
        }
        invalidate(self.at(), 4);
        let done = self.0.compare_exchange(current, new, success, failure);
        if done.is_ok() {
            clean(self.at(), 4);
        }
        done
    }

    #[inline(always)]
    pub(crate) fn as_atomic(self) -> &'m AtomicU32 {
        self.0
    }

    #[inline(always)]
    fn at(self) -> *const AtomicU32 {
        self.0
    }
}
