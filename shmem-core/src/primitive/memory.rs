//! Unchecked accessor of shared bytes, with the hooks around each access.

use core::ptr::NonNull;

use super::hooks::{clean, invalidate, is_watched, store_happens};
use super::word::SharedWord;
use super::{Bytes, Ordering};

/// Bytes from an address on.
///
/// - **M1** `bytes` begin at an 8-byte aligned address, and those that a caller accesses
///   are mapped for `'m`: [`crate::mem::Window`] checks both.
#[derive(Clone, Copy)]
pub(crate) struct Memory<'m> {
    bytes: Bytes<'m>,
}

impl<'m> Memory<'m> {
    /// # Safety
    ///
    /// M1 holds for every byte that is accessed through this accessor or
    /// through one that [`Memory::add`] returns.
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

    /// Returns the control word at the base.
    ///
    /// # Safety
    ///
    /// Four bytes from the base are mapped and the base is 4-byte aligned.
    #[inline(always)]
    pub(crate) unsafe fn word(self) -> SharedWord<'m> {
        // SAFETY: the caller's contract is the callee's.
        SharedWord::new(unsafe { self.bytes.word() })
    }

    /// Loads the two words at the base with the width of a payload copy; `order` applies to
    /// the first one.
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

    /// Stores the two words at the base with the width of a payload copy.
    ///
    /// # Safety
    ///
    /// As for [`Memory::load_pair`], mapped writable.
    #[inline(always)]
    pub(crate) unsafe fn store_pair(self, words: [u32; 2], order: Ordering) {
        if store_happens() {
            // The clean writes the whole line back: take a peer's words in it from memory first.
            self.begin_raw_loads(8);
            // SAFETY: the caller's contract is the callee's.
            unsafe { self.bytes.store_pair(words, order) };
            self.finish_raw_stores(8);
        }
    }

    /// Copies into memory that by protocol belongs to the caller alone.
    ///
    /// In tests of recovery the copy has two steps, and a dead partition makes none.
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

    /// As [`Memory::write`], for bytes that no partition uses before a later store publishes
    /// them: tests of recovery do not stop here.
    ///
    /// # Safety
    ///
    /// As for [`Memory::write`].
    #[inline(always)]
    pub(crate) unsafe fn write_unpublished(self, skip: usize, bytes: &[u8]) {
        // The clean writes whole lines back: take the rest of each line from memory first.
        self.begin_raw_loads(skip + bytes.len());
        // SAFETY: the caller's contract is the callee's.
        unsafe { self.bytes.write(skip, bytes) };
        self.finish_raw_stores(skip + bytes.len());
    }

    /// Copies out of memory that by protocol belongs to the caller alone.
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

    /// Must precede loads of the first `len` bytes that are not made through this accessor.
    #[inline(always)]
    pub(crate) fn begin_raw_loads(self, len: usize) {
        invalidate(self.address().as_ptr(), len);
    }

    /// Must follow stores to the first `len` bytes that were not made through this accessor.
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
