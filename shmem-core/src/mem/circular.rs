//! A circular window, addressed by positions that grow without bound.

use super::Window;
use crate::primitive::{Memory, Ordering};

/// A window of a power of two of bytes, addressed by `u32` positions modulo
/// its length. Every position is valid, so a word needs no bounds check.
///
/// - **C1** `memory` is mapped for `mask + 8` bytes from an 8-byte aligned base, for `'m`.
/// - **C2** `mask + 8` is a power of two, at least 8; so `mask` rounds a position down to a
///   multiple of 8 in the window.
#[derive(Clone, Copy)]
pub(crate) struct CircularWindow<'m> {
    memory: Memory<'m>,
    mask: u32,
}

impl<'m> CircularWindow<'m> {
    /// Returns all of `window`, if its length is a power of two from 8 to 2^31.
    pub(crate) fn new(window: Window<'m>) -> Option<Self> {
        let len = u32::try_from(window.len()).ok()?;
        (len >= 8 && len.is_power_of_two()).then(|| Self {
            memory: window.memory(),
            mask: len - 8,
        })
    }

    /// Returns the length in bytes.
    #[inline(always)]
    pub(crate) fn len(self) -> u32 {
        self.mask + 8
    }

    /// Returns the offset of `position`, rounded down to a multiple of 8.
    #[inline(always)]
    pub(crate) fn offset(self, position: u32) -> usize {
        (position & self.mask) as usize
    }

    /// Loads the two control words at `position`, rounded down to a multiple of 8; `order`
    /// applies to the first one.
    ///
    /// Payload of another lap may lie at the same bytes. So both are accessed with the width
    /// of a payload copy; otherwise a third partition that reads them would mix widths.
    #[inline(always)]
    pub(crate) fn load_pair(self, position: u32, order: Ordering) -> [u32; 2] {
        let at = self.pair(position);
        // SAFETY: eight mapped, 8-byte aligned bytes.
        unsafe { at.load_pair(order) }
    }

    /// Stores both words at `position`. If `order` is release, a peer that sees the first one
    /// sees the second one too.
    #[inline(always)]
    pub(crate) fn store_pair(self, position: u32, words: [u32; 2], order: Ordering) {
        let at = self.pair(position);
        // SAFETY: eight mapped, 8-byte aligned bytes.
        unsafe { at.store_pair(words, order) };
    }

    #[inline(always)]
    fn pair(self, position: u32) -> Memory<'m> {
        // SAFETY: C1; the masked offset is at most that of the last eight bytes (C2).
        unsafe { self.memory.add(self.offset(position)) }
    }

    /// Copies `bytes` to `position`, a multiple of 8, in whole words. By protocol these words
    /// belong to the caller, and a later store publishes them.
    #[inline(always)]
    pub(crate) fn write(self, position: u32, bytes: &[u8]) {
        let offset = self.check(position, bytes.len());
        // SAFETY: C1; checked above.
        let at = unsafe { self.memory.add(offset) };
        // SAFETY: as above; rounding out to words stays inside by C2.
        unsafe { at.write_unpublished(0, bytes) };
    }

    /// Copies from `position`, a multiple of 8, into `bytes`, in whole words.
    #[inline(always)]
    pub(crate) fn read(self, position: u32, bytes: &mut [u8]) {
        let offset = self.check(position, bytes.len());
        // SAFETY: C1; checked above.
        let at = unsafe { self.memory.add(offset) };
        // SAFETY: as above; rounding out to words stays inside by C2.
        unsafe { at.read(0, bytes) };
    }

    /// Returns `len` bytes from `position`, a multiple of 8, rounded up to whole words.
    #[inline(always)]
    pub(crate) fn window(self, position: u32, len: usize) -> Window<'m> {
        let len = (len + 7) & !7;
        let offset = self.check(position, len);
        // SAFETY: C1; checked above.
        let at = unsafe { self.memory.add(offset) };
        Window::new(at, len)
    }

    #[inline(always)]
    fn check(self, position: u32, len: usize) -> usize {
        let offset = self.offset(position);
        if len > self.len() as usize - offset {
            outside();
        }
        offset
    }
}

/// Not inlined, so that each check is small.
#[cold]
#[inline(never)]
fn outside() -> ! {
    panic!("bytes past the end of a circular window: a bug in the caller")
}
