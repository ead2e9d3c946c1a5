//! Shared bytes on the machine: a base address.

use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

use super::copy;

/// Unchecked accessor of mapped bytes.
///
/// - **B1** `base` is 8-byte aligned, and the bytes that a caller accesses are mapped
///   for `'m`.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<'m> {
    base: NonNull<u8>,
    mapped: PhantomData<&'m AtomicU32>,
}

// SAFETY: every access is an atomic of fixed width (B1), so any thread may make it.
unsafe impl Send for Bytes<'_> {}
// SAFETY: as for `Send`.
unsafe impl Sync for Bytes<'_> {}

impl<'m> Bytes<'m> {
    /// # Safety
    ///
    /// B1 holds for every byte that is accessed through this accessor or
    /// through one that [`Bytes::add`] returns.
    pub(super) unsafe fn new(base: NonNull<u8>) -> Self {
        Self {
            base,
            mapped: PhantomData,
        }
    }

    /// # Safety
    ///
    /// `offset` is within the mapped range.
    #[inline(always)]
    pub(super) unsafe fn add(self, offset: usize) -> Self {
        // SAFETY: the caller keeps the sum inside one mapping.
        let base = unsafe { self.base.as_ptr().add(offset) };
        // SAFETY: no mapping contains the null address.
        let base = unsafe { NonNull::new_unchecked(base) };
        Self { base, ..self }
    }

    pub(super) fn address(self) -> NonNull<u8> {
        self.base
    }

    /// Returns the control word at the base.
    ///
    /// # Safety
    ///
    /// Four bytes from the base are mapped and the base is 4-byte aligned.
    #[inline(always)]
    pub(super) unsafe fn word(self) -> &'m AtomicU32 {
        // SAFETY: B1; an `AtomicU32` may be shared with writers we cannot see.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().cast()) }
    }

    /// Loads the two words at the base with the width of a payload copy.
    ///
    /// # Safety
    ///
    /// Eight bytes from the base are mapped and the base is 8-byte aligned.
    #[inline(always)]
    pub(super) unsafe fn load_pair(self, order: Ordering) -> [u32; 2] {
        // SAFETY: the caller's contract is the callee's.
        unsafe { copy::load_pair(self.base.as_ptr(), order) }
    }

    /// Stores the two words at the base with the width of a payload copy.
    ///
    /// # Safety
    ///
    /// As for [`Bytes::load_pair`], mapped writable.
    #[inline(always)]
    pub(super) unsafe fn store_pair(self, words: [u32; 2], order: Ordering) {
        // SAFETY: the caller's contract is the callee's.
        unsafe { copy::store_pair(self.base.as_ptr(), words, order) };
    }

    /// Copies into memory that by protocol belongs to the caller alone.
    ///
    /// # Safety
    ///
    /// The bytes are mapped, rounded out to whole 8-byte words.
    #[inline(always)]
    pub(super) unsafe fn write(self, skip: usize, bytes: &[u8]) {
        // SAFETY: the caller's contract is the callee's.
        unsafe { copy::write(self.base.as_ptr(), skip, bytes) };
    }

    /// Copies out of memory that by protocol belongs to the caller alone.
    ///
    /// # Safety
    ///
    /// As for [`Bytes::write`].
    #[inline(always)]
    pub(super) unsafe fn read(self, skip: usize, bytes: &mut [u8]) {
        // SAFETY: the caller's contract is the callee's.
        unsafe { copy::read(self.base.as_ptr(), skip, bytes) };
    }

    /// Copies into memory that readers may be reading.
    ///
    /// # Safety
    ///
    /// As for [`Bytes::write`].
    #[inline(always)]
    pub(super) unsafe fn write_shared(self, bytes: &[u8]) {
        // SAFETY: the caller's contract is the callee's; the copy consists of atomic words.
        unsafe { self.write(0, bytes) };
    }

    /// Copies out of memory that a writer may be writing.
    ///
    /// # Safety
    ///
    /// As for [`Bytes::write`].
    #[inline(always)]
    pub(super) unsafe fn read_shared(self, bytes: &mut [u8]) {
        // SAFETY: as for `write_shared`.
        unsafe { self.read(0, bytes) };
    }
}

#[cfg(feature = "alloc")]
pub(crate) use heap::HeapBytes;

#[cfg(feature = "alloc")]
mod heap {
    use super::Bytes;
    use alloc::vec::Vec;
    use core::cell::UnsafeCell;
    use core::ptr::NonNull;

    #[repr(C, align(128))]
    struct Line(UnsafeCell<[u8; 128]>);

    /// Zeroed private bytes.
    pub(crate) struct HeapBytes {
        lines: Vec<Line>,
    }

    // SAFETY: the bytes are only reached through `Bytes`, whose accesses are atomic.
    unsafe impl Sync for HeapBytes {}

    impl HeapBytes {
        /// Allocates `len` zeroed bytes, rounded up to whole lines and aligned to 128.
        pub(crate) fn new(len: usize) -> Self {
            let mut lines = Vec::new();
            lines.resize_with(len.div_ceil(128), || Line(UnsafeCell::new([0; 128])));
            Self { lines }
        }

        pub(crate) fn memory(&self) -> Bytes<'_> {
            // From the whole slice, so that the pointer may access all of it.
            let base = NonNull::from(self.lines.as_slice()).cast::<u8>();
            // SAFETY: B1: the lines outlive the borrow and are 128-byte
            // aligned; `UnsafeCell` allows writes through a shared reference.
            unsafe { Bytes::new(base) }
        }
    }
}
