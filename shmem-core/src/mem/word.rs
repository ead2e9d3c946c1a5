//! One little-endian control word.

use crate::primitive::{clean, invalidate, store_happens, AtomicU32, Ordering};

/// A 32-bit control word in shared memory, little-endian there on every machine.
///
/// Callers name the paired access of every ordering they pass.
#[derive(Clone, Copy)]
pub struct Word<'m>(&'m AtomicU32);

impl<'m> Word<'m> {
    pub(crate) fn new(atomic: &'m AtomicU32) -> Self {
        Self(atomic)
    }

    /// Reads the word.
    #[inline(always)]
    pub fn load(self, order: Ordering) -> u32 {
        invalidate(self.at(), 4);
        u32::from_le(self.0.load(order))
    }

    /// Writes the word.
    #[inline(always)]
    pub fn store(self, value: u32, order: Ordering) {
        if store_happens() {
            // A peer's words in the line are to be what the clean writes back.
            invalidate(self.at(), 4);
            self.0.store(value.to_le(), order);
            clean(self.at(), 4);
        }
    }

    /// Replaces `current` by `new` if that is what the word holds.
    ///
    /// The one read-modify-write there is: memory behind a device mapping or a
    /// guest that emulates one processor may not have it. Registry creation and
    /// locks need it; rings, snapshots, doorbells and lookup do not.
    ///
    /// # Errors
    ///
    /// The value found, if it was another.
    #[inline]
    pub fn compare_exchange(
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
        let done = self
            .0
            .compare_exchange(current.to_le(), new.to_le(), success, failure);
        if done.is_ok() {
            clean(self.at(), 4);
        }
        done.map(u32::from_le).map_err(u32::from_le)
    }

    fn at(self) -> *const AtomicU32 {
        self.0
    }

    /// The word as the machine has it, for a kernel's wait on its address.
    /// Its value there is `value.to_le()`.
    pub fn as_atomic(self) -> &'m AtomicU32 {
        self.0
    }
}
