//! Unchecked accessor of shared bytes, with all that an access to shared memory takes.

use core::ptr::NonNull;

use super::hooks::{clean, invalidate, is_watched, store_happens};
use super::word::SharedWord;
use super::{Bytes, Ordering};

/// Bytes from an address on.
///
/// - **M1** `bytes` begin at an 8-byte aligned address, and those that a caller names
///   are mapped for `'m`: [`crate::mem::Window`] checks both.
#[derive(Clone, Copy)]
pub(crate) struct Memory<'m> {
    bytes: Bytes<'m>,
}

impl<'m> Memory<'m> {
    /// # Safety
    ///
    /// M1 holds for every byte that will be named through this accessor or
    /// through one that [`Memory::add`] makes of it.
    pub(crate) unsafe fn new(base: NonNull<u8>) -> Self {
        // SAFETY: the caller's contract is the callee's.
        Self::from(unsafe { Bytes::new(base) })
    }

    /// # Safety
    ///
    /// `offset` is within the mapped range.
    #[inline(always)]
    pub(crate) unsafe fn add(self, offset: usize) -> Self {
        // SAFETY: the caller's contract is the callee's.
        Self::from(unsafe { self.bytes.add(offset) })
    }

    #[inline(always)]
    pub(crate) fn address(self) -> NonNull<u8> {
        self.bytes.address()
    }

    /// The control word at the base.
    ///
    /// # Safety
    ///
    /// Four bytes from the base are mapped and the base is 4-byte aligned.
    #[inline(always)]
    pub(crate) unsafe fn word(self) -> SharedWord<'m> {
        // SAFETY: the caller's contract is the callee's.
        SharedWord::new(unsafe { self.bytes.word() })
    }

    /// The two words at the base, by the width of a payload copy; `order` is the first one's.
    ///
    /// # Safety
    ///
    /// Eight bytes from the base are mapped and the base is 8-byte aligned.
    #[inline(always)]
    pub(crate) unsafe fn load_pair(self, order: Ordering) -> [u32; 2] {
        self.begin_raw_loads(8);
        // SAFETY: the caller's contract is the callee's.
        unsafe { self.bytes.load_pair(order) }
    }

    /// Stores the two words at the base, by the width of a payload copy.
    ///
    /// # Safety
    ///
    /// As for [`Memory::load_pair`], mapped writable.
    #[inline(always)]
    pub(crate) unsafe fn store_pair(self, words: [u32; 2], order: Ordering) {
        if store_happens() {
            // A peer's words in the line are to be what the clean writes back.
            self.begin_raw_loads(8);
            // SAFETY: the caller's contract is the callee's.
            unsafe { self.bytes.store_pair(words, order) };
            self.finish_raw_stores(8);
        }
    }

    /// Copies into memory that is ours alone by protocol.
    ///
    /// In tests of recovery the copy is made in two steps, and none is made by the dead.
    ///
    /// # Safety
    ///
    /// The bytes are mapped, rounded out to whole 8-byte words.
    #[inline(always)]
    pub(crate) unsafe fn write(self, skip: usize, bytes: &[u8]) {
        if is_watched() && bytes.len() > 8 && store_happens() {
            // SAFETY: a part of the caller's bytes.
            unsafe { self.write_unpublished(skip, &bytes[..8]) };
        }
        if store_happens() {
            // SAFETY: the caller's contract is the callee's.
            unsafe { self.write_unpublished(skip, bytes) };
        }
    }

    /// As [`Memory::write`], of bytes that count for nothing before a later store publishes
    /// them: tests of recovery do not stop here.
    ///
    /// # Safety
    ///
    /// As for [`Memory::write`].
    #[inline(always)]
    pub(crate) unsafe fn write_unpublished(self, skip: usize, bytes: &[u8]) {
        // Of lines that are written in part, the rest is cleaned too: it has to be the memory's.
        self.begin_raw_loads(skip + bytes.len());
        // SAFETY: the caller's contract is the callee's.
        unsafe { self.bytes.write(skip, bytes) };
        self.finish_raw_stores(skip + bytes.len());
    }

    /// Copies out of memory that is ours alone by protocol.
    ///
    /// # Safety
    ///
    /// As for [`Memory::write`].
    #[inline(always)]
    pub(crate) unsafe fn read(self, skip: usize, bytes: &mut [u8]) {
        self.begin_raw_loads(skip + bytes.len());
        // SAFETY: the caller's contract is the callee's.
        unsafe { self.bytes.read(skip, bytes) };
    }

    /// Copies into memory that readers may be reading, otherwise as [`Memory::write`].
    ///
    /// # Safety
    ///
    /// As for [`Memory::write`].
    #[inline]
    pub(crate) unsafe fn write_shared(self, bytes: &[u8]) {
        if is_watched() && bytes.len() > 8 && store_happens() {
            // SAFETY: a part of the caller's bytes.
            unsafe { self.store_shared(&bytes[..8]) };
        }
        if store_happens() {
            // SAFETY: the caller's contract is the callee's.
            unsafe { self.store_shared(bytes) };
        }
    }

    /// One step of [`Memory::write_shared`].
    #[inline(always)]
    unsafe fn store_shared(self, bytes: &[u8]) {
        self.begin_raw_loads(bytes.len());
        // SAFETY: the caller's contract is the callee's.
        unsafe { self.bytes.write_shared(bytes) };
        self.finish_raw_stores(bytes.len());
    }

    /// Copies out of memory that a writer may be writing.
    ///
    /// # Safety
    ///
    /// As for [`Memory::write`].
    #[inline(always)]
    pub(crate) unsafe fn read_shared(self, bytes: &mut [u8]) {
        self.begin_raw_loads(bytes.len());
        // SAFETY: the caller's contract is the callee's.
        unsafe { self.bytes.read_shared(bytes) };
    }

    /// Before loads from the first `len` bytes that are not made through this accessor.
    #[inline(always)]
    pub(crate) fn begin_raw_loads(self, len: usize) {
        invalidate(self.address().as_ptr(), len);
    }

    /// After stores to the first `len` bytes that were not made through this accessor.
    #[inline(always)]
    pub(crate) fn finish_raw_stores(self, len: usize) {
        clean(self.address().as_ptr(), len);
    }
}

impl<'m> From<Bytes<'m>> for Memory<'m> {
    #[inline(always)]
    fn from(bytes: Bytes<'m>) -> Self {
        Self { bytes }
    }
}
