//! A record in place, before its release.

use core::fmt;

use crate::mem::Window;

/// A record in place. The producer may change its bytes: copy them, then check the copy.
#[derive(Clone, Copy)]
pub struct Record<'r> {
    pub(super) payload: Window<'r>,
    pub(super) len: usize,
}

impl Record<'_> {
    /// Returns the record's length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if the record has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies from `offset` in the record into the start of `bytes`; returns the number of
    /// bytes copied.
    #[inline]
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> usize {
        let len = self.len.saturating_sub(offset).min(bytes.len());
        if len != 0 {
            self.payload.read(offset, &mut bytes[..len]);
        }
        len
    }

    /// Replaces the content of `bytes` with the record.
    #[cfg(feature = "alloc")]
    pub fn read_into(&self, bytes: &mut alloc::vec::Vec<u8>) {
        bytes.resize(self.len, 0); // The length was checked: it fits the ring.
        self.read(0, bytes);
    }

    /// Returns the address of the first byte, for peers that trust each other and read in place.
    pub fn as_ptr(&self) -> *const u8 {
        self.payload.begin_raw_loads();
        self.payload.address().as_ptr()
    }

    /// Returns the record without a copy.
    ///
    /// # Safety
    ///
    /// While the slice exists, no store may change the record:
    ///
    /// - The producer is honest: it stores nothing into a record before its release.
    /// - No handle releases the record: not this consumer, not another handle of the same end,
    ///   not a successor that takes over the end. The borrow of the record of a
    ///   [`Pending`](super::inspect::Pending) does not stop the ring's consumer: the caller
    ///   must ensure that it does not run meanwhile.
    ///
    /// If any partition breaks this, a hostile one included, the behaviour is undefined.
    pub unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: the record lies inside the window (checked when it was found),
        // which outlives the borrow; the caller ensures that no store changes it.
        unsafe { core::slice::from_raw_parts(self.as_ptr(), self.len) }
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
