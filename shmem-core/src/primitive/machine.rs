//! Shared bytes as the machine has them: a base address.

use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

use super::{clean, copy, invalidate};

/// Unchecked accessor of mapped bytes.
///
/// - **M1** `base` is 8-byte aligned, and the bytes a caller names are mapped
///   for `'m`: [`crate::mem::Window`] checks both.
#[derive(Clone, Copy)]
pub(crate) struct Memory<'m> {
    base: NonNull<u8>,
    mapped: PhantomData<&'m AtomicU32>,
}

// SAFETY: every access is an atomic of fixed width (M1), so any thread may make it.
unsafe impl Send for Memory<'_> {}
// SAFETY: as for `Send`.
unsafe impl Sync for Memory<'_> {}

impl<'m> Memory<'m> {
    /// # Safety
    ///
    /// M1 holds for every byte that will be named through this accessor or
    /// through one that [`Memory::add`] makes of it.
    pub(crate) unsafe fn new(base: NonNull<u8>) -> Self {
        Self {
            base,
            mapped: PhantomData,
        }
    }

    /// # Safety
    ///
    /// `offset` is within the mapped range.
    #[inline(always)]
    pub(crate) unsafe fn add(self, offset: usize) -> Self {
        // SAFETY: the caller keeps the sum inside one mapping.
        let base = unsafe { self.base.as_ptr().add(offset) };
        // SAFETY: no mapping holds the null address.
        let base = unsafe { NonNull::new_unchecked(base) };
        Self { base, ..self }
    }

    pub(crate) fn address(self) -> NonNull<u8> {
        self.base
    }

    /// The control word at the base.
    ///
    /// # Safety
    ///
    /// Four bytes from the base are mapped and the base is 4-byte aligned.
    #[inline(always)]
    pub(crate) unsafe fn word(self) -> &'m AtomicU32 {
        // SAFETY: M1; an `AtomicU32` may be shared with writers we cannot see.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().cast()) }
    }

    /// The two words at the base, by the width of a payload copy.
    ///
    /// # Safety
    ///
    /// Eight bytes from the base are mapped and the base is 8-byte aligned.
    #[inline(always)]
    pub(crate) unsafe fn load_pair(self, order: Ordering) -> [u32; 2] {
        // SAFETY: the caller's contract is the callee's.
        unsafe { copy::load_pair(self.base.as_ptr(), order) }
    }

    /// Stores the two words at the base, by the width of a payload copy.
    ///
    /// # Safety
    ///
    /// As for [`Memory::load_pair`], mapped writable.
    #[inline(always)]
    pub(crate) unsafe fn store_pair(self, words: [u32; 2], order: Ordering) {
        // SAFETY: the caller's contract is the callee's.
        unsafe { copy::store_pair(self.base.as_ptr(), words, order) };
    }

    /// Copies into memory that is ours alone by protocol.
    ///
    /// # Safety
    ///
    /// The bytes are mapped, rounded out to whole 8-byte words.
    #[inline(always)]
    pub(crate) unsafe fn write(self, skip: usize, bytes: &[u8]) {
        // Of lines that are written in part, the rest is cleaned too: it has to be the memory's.
        invalidate(self.base.as_ptr(), skip + bytes.len());
        // SAFETY: the caller's contract is the callee's.
        unsafe { copy::write(self.base.as_ptr(), skip, bytes) };
        clean(self.base.as_ptr(), skip + bytes.len());
    }

    /// Copies out of memory that is ours alone by protocol.
    ///
    /// # Safety
    ///
    /// As for [`Memory::write`].
    #[inline(always)]
    pub(crate) unsafe fn read(self, skip: usize, bytes: &mut [u8]) {
        invalidate(self.base.as_ptr(), skip + bytes.len());
        // SAFETY: the caller's contract is the callee's.
        unsafe { copy::read(self.base.as_ptr(), skip, bytes) };
    }

    /// Copies into memory that readers may be reading.
    ///
    /// # Safety
    ///
    /// As for [`Memory::write`].
    pub(crate) unsafe fn write_shared(self, bytes: &[u8]) {
        // SAFETY: the caller's contract is the callee's; the copy is atomic by words anyway.
        unsafe { self.write(0, bytes) };
    }

    /// Copies out of memory that a writer may be writing.
    ///
    /// # Safety
    ///
    /// As for [`Memory::write`].
    pub(crate) unsafe fn read_shared(self, bytes: &mut [u8]) {
        // SAFETY: as for `write_shared`.
        unsafe { self.read(0, bytes) };
    }

    /// Asks for the line at the base to be made ours, because we will write it soon.
    #[inline(always)]
    pub(crate) fn prefetch_write(self) {
        copy::prefetch_write(self.base.as_ptr());
    }
}

#[cfg(feature = "alloc")]
pub use heap::Heap;

#[cfg(feature = "alloc")]
mod heap {
    use super::Memory;
    use crate::mem::Window;
    use alloc::vec::Vec;
    use core::cell::UnsafeCell;
    use core::ptr::NonNull;

    #[repr(C, align(128))]
    struct Line(UnsafeCell<[u8; 128]>);

    /// Zeroed private memory that stands in for shared memory in tests and models.
    pub struct Heap {
        lines: Vec<Line>,
        len: usize,
    }

    // SAFETY: the bytes are only reached through `Window`, whose accesses are atomic.
    unsafe impl Sync for Heap {}

    impl Heap {
        /// `len` zeroed bytes, aligned to 128.
        pub fn new(len: usize) -> Self {
            let mut lines = Vec::new();
            lines.resize_with(len.div_ceil(128), || Line(UnsafeCell::new([0; 128])));
            Self { lines, len }
        }

        /// The whole of it.
        pub fn window(&self) -> Window<'_> {
            // Of the whole slice, so that the pointer may reach all of it.
            let base = NonNull::from(self.lines.as_slice()).cast::<u8>();
            // SAFETY: M1: the lines live as long as the borrow and are 128-byte
            // aligned; `UnsafeCell` allows writes behind a shared reference.
            let memory = unsafe { Memory::new(base) };
            Window::over(memory, self.len)
        }
    }
}
