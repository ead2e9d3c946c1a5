//! One little-endian control word.

use crate::primitive::{AtomicU32, Ordering, SharedWord};

/// A 32-bit control word in shared memory, little-endian there on every machine.
#[derive(Clone, Copy)]
pub struct Word<'m>(SharedWord<'m>);

impl<'m> Word<'m> {
    pub(crate) fn new(word: SharedWord<'m>) -> Self {
        Self(word)
    }

    /// Loads the word.
    #[inline(always)]
    pub fn load(self, order: Ordering) -> u32 {
        u32::from_le(self.0.load(order))
    }

    /// Stores the word.
    #[inline(always)]
    pub fn store(self, value: u32, order: Ordering) {
        self.0.store(value.to_le(), order);
    }

    /// Replaces the value by `new` if it is `current`; returns the value before.
    ///
    /// This is the only read-modify-write of the library. Device memory, and a guest that
    /// emulates one processor, may not support it. Registry creation and
    /// locks need it; rings, snapshots, doorbells and lookup do not.
    ///
    /// # Errors
    ///
    /// The value found, if it is not `current`.
    #[inline]
    pub fn compare_exchange(
        self,
        current: u32,
        new: u32,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u32, u32> {
        let done = self
            .0
            .compare_exchange(current.to_le(), new.to_le(), success, failure);
        done.map(u32::from_le).map_err(u32::from_le)
    }

    /// Returns the word in memory, for a kernel call that waits on its address.
    /// Its value there is `value.to_le()`.
    #[inline]
    pub fn as_atomic(self) -> &'m AtomicU32 {
        self.0.as_atomic()
    }
}
