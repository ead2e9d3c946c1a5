//! A record in place, before it is released.

use core::fmt;

use crate::mem::Window;

/// A record in place. Its bytes are what the producer claims: copy them, then
/// check the copy.
#[derive(Clone, Copy)]
pub struct Record<'r> {
    pub(super) payload: Window<'r>,
    pub(super) len: usize,
}

impl Record<'_> {
    /// Bytes of the record.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the record has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies from `offset` in the record into the front of `bytes`; returns how
    /// many bytes there were.
    #[inline]
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> usize {
        let len = self.len.saturating_sub(offset).min(bytes.len());
        if len != 0 {
            self.payload.read(offset, &mut bytes[..len]);
        }
        len
    }

    /// Replaces what is in `bytes` by the record.
    #[cfg(feature = "alloc")]
    pub fn read_into(&self, bytes: &mut alloc::vec::Vec<u8>) {
        bytes.resize(self.len, 0); // Bounded by the ring, not by the peer's number.
        self.read(0, bytes);
    }

    /// Address of the first byte, for peers that trust each other and read in place.
    pub fn as_ptr(&self) -> *const u8 {
        self.payload.begin_raw_loads();
        self.payload.address().as_ptr()
    }

    /// The record without a copy.
    ///
    /// # Safety
    ///
    /// While the slice incarnations, nobody stores into the record:
    ///
    /// - The producer is honest: it stores nothing into a record before it is released.
    /// - Nobody releases the record: not this consumer, not another handle on the same end,
    ///   not one that takes the end over. For the record of a
    ///   [`Pending`](super::inspect::Pending) that is the ring's consumer, which the
    ///   borrow does not hold back: it rests meanwhile.
    ///
    /// Whoever breaks this, a hostile partition too, makes it undefined behaviour.
    pub unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: the record lies inside the window (checked when it was found),
        // which outlives the borrow; the caller answers for both ends.
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
