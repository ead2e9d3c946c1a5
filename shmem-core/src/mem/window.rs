//! A bounds-checked range of shared memory.

use core::fmt;
use core::ptr::NonNull;

use super::Word;
use crate::primitive::Memory;

/// A range of shared memory that this program may read and write for `'m`.
///
/// No reference to the bytes is ever formed: control words are accessed as
/// [`Word`]s, payload is copied in aligned words. Every access is checked
/// against the range. An access outside is a bug in the caller and panics, so
/// the caller must check offsets from a peer before.
///
/// - **W1** `memory` is mapped for `len` bytes from an 8-byte aligned base, for `'m`.
/// - **W2** `len` is a multiple of 8, so that a whole word covers the last byte.
#[derive(Clone, Copy)]
pub struct Window<'m> {
    memory: Memory<'m>,
    len: usize,
}

/// The range does not lie inside the window, or does not begin at a multiple of 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfWindow {
    /// Offset of the requested range.
    pub offset: usize,
    /// Bytes of the requested range.
    pub len: usize,
    /// Bytes of the window.
    pub window: usize,
}

impl fmt::Display for OutOfWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes at offset {} are not an 8-byte aligned part of a window of {} bytes",
            self.len, self.offset, self.window
        )
    }
}

#[cfg(feature = "std")]
impl std::error::Error for OutOfWindow {}

impl<'m> Window<'m> {
    /// Returns a window on memory that is already mapped: by a bootloader, a
    /// hypervisor, or the caller. `len` is rounded down to a multiple of 8.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if `base` is not 8-byte aligned.
    ///
    /// # Safety
    ///
    /// For `'m`, the bytes must be mapped readable (as cached or device memory), and writable if
    /// anything is stored through the window. No Rust reference to them may exist in this program.
    /// Peers may read and write them at any time.
    pub unsafe fn from_raw(base: NonNull<u8>, len: usize) -> Result<Self, OutOfWindow> {
        let misaligned = base.as_ptr() as usize % 8;
        if misaligned != 0 {
            return Err(OutOfWindow {
                offset: misaligned,
                len,
                window: len,
            });
        }
        // SAFETY: the caller guarantees W1 except the alignment, which was checked.
        Ok(Self::new(unsafe { Memory::new(base) }, len))
    }

    #[inline(always)]
    pub(crate) fn new(memory: Memory<'m>, len: usize) -> Self {
        Self {
            memory,
            len: len / 8 * 8,
        }
    }

    /// Returns the length of the window in bytes.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // An empty window has no use.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns the address of the first byte in this program.
    pub fn address(&self) -> NonNull<u8> {
        self.memory.address()
    }

    /// Returns a part of the window; `len` is rounded down to a multiple of 8.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if the range is not inside, or `offset` is not a multiple of 8.
    #[inline]
    pub fn sub(&self, offset: usize, len: usize) -> Result<Self, OutOfWindow> {
        let inside = offset <= self.len && len <= self.len - offset;
        if !inside || offset % 8 != 0 {
            return Err(OutOfWindow {
                offset,
                len,
                window: self.len,
            });
        }
        // SAFETY: `offset` is inside the range of W1.
        let memory = unsafe { self.memory.add(offset) };
        Ok(Self::new(memory, len))
    }

    /// Returns a part of the window, and panics where [`Window::sub`] fails: for a range that does
    /// not come from a peer.
    ///
    /// # Panics
    ///
    /// If the range is not inside, or `offset` is not a multiple of 8.
    #[inline]
    #[must_use]
    pub fn part(&self, offset: usize, len: usize) -> Self {
        self.sub(offset, len).unwrap_or_else(|_| outside())
    }

    /// Returns the control word at `offset`, a multiple of 4.
    ///
    /// # Panics
    ///
    /// If the word is not inside the window.
    #[inline]
    pub fn word(&self, offset: usize) -> Word<'m> {
        // W2: a multiple of 4 before the end has four bytes.
        if offset >= self.len || offset % 4 != 0 {
            outside();
        }
        // SAFETY: checked above; W1.
        let at = unsafe { self.memory.add(offset) };
        // SAFETY: four mapped, 4-byte aligned bytes.
        Word::new(unsafe { at.word() })
    }

    /// Copies `bytes` to `offset`, in whole words. By protocol these words belong to the
    /// caller: no peer writes them now.
    ///
    /// # Panics
    ///
    /// If they do not fit.
    #[inline(always)]
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        self.check(offset, bytes.len(), 1);
        // SAFETY: checked above; W1, W2.
        let at = unsafe { self.memory.add(offset / 8 * 8) };
        // SAFETY: as above; rounding out to words stays inside by W2.
        unsafe { at.write(offset % 8, bytes) };
    }

    /// Copies from `offset` into `bytes`, in whole words. A peer that breaks the
    /// protocol can make the copy inconsistent, but cause nothing worse.
    ///
    /// # Panics
    ///
    /// If the range is not inside the window.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        self.check(offset, bytes.len(), 1);
        // SAFETY: checked above; W1, W2.
        let at = unsafe { self.memory.add(offset / 8 * 8) };
        // SAFETY: as above; rounding out to words stays inside by W2.
        unsafe { at.read(offset % 8, bytes) };
    }

    /// As [`Window::write`], while readers may read the bytes. The readers must detect an
    /// inconsistent copy themselves.
    ///
    /// # Panics
    ///
    /// If `bytes` do not fit, or `offset` is not a multiple of 8.
    pub fn write_shared(&self, offset: usize, bytes: &[u8]) {
        self.check(offset, bytes.len(), 8);
        // SAFETY: checked above; W1, W2.
        let at = unsafe { self.memory.add(offset) };
        // SAFETY: as above.
        unsafe { at.write_shared(bytes) };
    }

    /// As [`Window::read`], while a writer may write the bytes. The caller must detect an
    /// inconsistent copy itself.
    ///
    /// # Panics
    ///
    /// If the range is not inside, or `offset` is not a multiple of 8.
    #[inline]
    pub fn read_shared(&self, offset: usize, bytes: &mut [u8]) {
        self.check(offset, bytes.len(), 8);
        // SAFETY: checked above; W1, W2.
        let at = unsafe { self.memory.add(offset) };
        // SAFETY: as above.
        unsafe { at.read_shared(bytes) };
    }

    /// Sets `len` bytes from `offset` to zero; as [`Window::write`] otherwise.
    ///
    /// # Panics
    ///
    /// If the range is not inside the window.
    pub fn zero(&self, offset: usize, len: usize) {
        const ZEROES: [u8; 64] = [0; 64];
        self.check(offset, len, 1);
        let mut at = offset;
        while at < offset + len {
            let part = ZEROES.len().min(offset + len - at);
            self.write(at, &ZEROES[..part]);
            at += part;
        }
    }

    /// Must follow stores that were not made through the window.
    #[inline(always)]
    pub(crate) fn finish_raw_stores(&self) {
        self.memory.finish_raw_stores(self.len);
    }

    /// Must precede loads that are not made through the window.
    #[inline(always)]
    pub(crate) fn begin_raw_loads(&self) {
        self.memory.begin_raw_loads(self.len);
    }

    pub(crate) fn memory(self) -> Memory<'m> {
        self.memory
    }

    #[inline]
    fn check(&self, offset: usize, len: usize, align: usize) {
        let inside = offset <= self.len && len <= self.len - offset;
        if !inside || offset % align != 0 {
            outside();
        }
    }
}

/// Not inlined, so that each check is small.
#[cold]
#[inline(never)]
fn outside() -> ! {
    panic!("access outside a window: a bug in the caller")
}
