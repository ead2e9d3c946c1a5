//! A window that is walked round and round, by positions that run freely.

use super::Window;
use crate::primitive::{Memory, Ordering};

/// A window of a power of two of bytes, addressed by `u32` positions modulo
/// its length. Every position has a place in it, so words need no check.
///
/// - **C1** `memory` is mapped for `mask + 8` bytes from an 8-byte aligned base, for `'m`.
/// - **C2** `mask + 8` is a power of two, at least 8; so `mask` takes a position to a
///   multiple of 8 below it.
#[derive(Clone, Copy)]
pub(crate) struct CircularWindow<'m> {
    memory: Memory<'m>,
    mask: u32,
}

impl<'m> CircularWindow<'m> {
    /// The whole of `window`, if its length is a power of two from 8 to 2^31.
    pub(crate) fn new(window: Window<'m>) -> Option<Self> {
        let len = u32::try_from(window.len()).ok()?;
        (len >= 8 && len.is_power_of_two()).then_some(Self {
            memory: window.memory(),
            mask: len - 8,
        })
    }

    /// Bytes of a lap.
    #[inline(always)]
    pub(crate) fn len(self) -> u32 {
        self.mask + 8
    }

    /// Where `position` lies, rounded down to a multiple of 8.
    #[inline(always)]
    pub(crate) fn offset(self, position: u32) -> usize {
        (position & self.mask) as usize
    }

    /// The two control words at `position`, rounded down to a multiple of 8; `order`
    /// is the first one's.
    ///
    /// Payload lies where these words did a lap ago, so both are accessed by the width
    /// of a payload copy: a third party that looks on would mix widths otherwise.
    #[inline(always)]
    pub(crate) fn load_pair(self, position: u32, order: Ordering) -> [u32; 2] {
        let at = self.pair(position);
        // SAFETY: eight mapped, 8-byte aligned bytes.
        unsafe { at.load_pair(order) }
    }

    /// Stores both words at `position`; they are visible when the first one is, if
    /// `order` is release.
    #[inline(always)]
    pub(crate) fn store_pair(self, position: u32, words: [u32; 2], order: Ordering) {
        let at = self.pair(position);
        // SAFETY: eight mapped, 8-byte aligned bytes.
        unsafe { at.store_pair(words, order) };
    }

    #[inline(always)]
    fn pair(self, position: u32) -> Memory<'m> {
        // SAFETY: C1; the mask leaves at most the last eight bytes' offset (C2).
        unsafe { self.memory.add(self.offset(position)) }
    }

    /// Copies `bytes` to `position`, a multiple of 8, by whole words that are
    /// the caller's by protocol, and which a later store publishes.
    #[inline(always)]
    pub(crate) fn write(self, position: u32, bytes: &[u8]) {
        let offset = self.check(position, bytes.len());
        // SAFETY: C1; checked above.
        let at = unsafe { self.memory.add(offset) };
        // SAFETY: as above; rounding out to words stays inside by C2.
        unsafe { at.write_unpublished(0, bytes) };
    }

    /// Copies from `position`, a multiple of 8, into `bytes`, by whole words.
    #[inline(always)]
    pub(crate) fn read(self, position: u32, bytes: &mut [u8]) {
        let offset = self.check(position, bytes.len());
        // SAFETY: C1; checked above.
        let at = unsafe { self.memory.add(offset) };
        // SAFETY: as above; rounding out to words stays inside by C2.
        unsafe { at.read(0, bytes) };
    }

    /// The `len` bytes from `position`, a multiple of 8, rounded up to whole words.
    #[inline(always)]
    pub(crate) fn window(self, position: u32, len: usize) -> Window<'m> {
        let len = (len + 7) & !7;
        let offset = self.check(position, len);
        // SAFETY: C1; checked above.
        let at = unsafe { self.memory.add(offset) };
        Window::over(at, len)
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

/// One for all, so that a check is small where it is made.
#[cold]
#[inline(never)]
fn outside() -> ! {
    panic!("bytes past the end of a circle: a bug of the caller's")
}
