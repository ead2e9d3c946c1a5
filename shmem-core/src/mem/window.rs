//! A bounds-checked range of shared memory.

use core::fmt;
use core::ptr::NonNull;

use super::Word;
use crate::primitive::Memory;

/// A range of shared memory that this program may read and write for `'m`.
///
/// No reference to the bytes is ever formed: control words are reached as
/// [`Word`]s, payload is copied by aligned words. Every access is checked
/// against the range; one outside it is a bug of the caller's and panics, so
/// offsets that a peer supplied are checked before they come here.
///
/// - **W1** `memory` is mapped for `len` bytes from an 8-byte aligned base, for `'m`.
/// - **W2** `len` is a multiple of 8, so that a whole word covers the last byte.
#[derive(Clone, Copy)]
pub struct Window<'m> {
    memory: Memory<'m>,
    len: usize,
}

/// A range that does not lie inside a window, or not at a multiple of 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfWindow {
    /// First byte asked for.
    pub offset: usize,
    /// Bytes asked for.
    pub len: usize,
    /// Bytes there are.
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
    /// A window on memory that is mapped already: by a bootloader, a
    /// hypervisor, or a mapping of the caller's own. `len` is rounded down to a
    /// multiple of 8.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if `base` is not 8-byte aligned.
    ///
    /// # Safety
    ///
    /// The bytes are mapped readable for `'m`, cached or as device memory, and writable if anything
    /// is stored through the window; and no Rust reference to any of them exists meanwhile, in this
    /// program. What peers do to them does not matter.
    pub unsafe fn from_raw(base: NonNull<u8>, len: usize) -> Result<Self, OutOfWindow> {
        let misaligned = base.as_ptr() as usize % 8;
        if misaligned != 0 {
            return Err(OutOfWindow {
                offset: misaligned,
                len,
                window: len,
            });
        }
        // SAFETY: the caller gives W1 but for the alignment, which was checked.
        Ok(Self::over(unsafe { Memory::new(base) }, len))
    }

    #[inline(always)]
    pub(crate) fn over(memory: Memory<'m>, len: usize) -> Self {
        Self {
            memory,
            len: len / 8 * 8,
        }
    }

    /// Bytes in the window.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // An empty window is of no use to anyone.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Address of the first byte, in this program.
    pub fn address(&self) -> NonNull<u8> {
        self.memory.address()
    }

    /// A part of the window; `len` is rounded down to a multiple of 8.
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
        Ok(Self::over(memory, len))
    }

    /// As [`Window::sub`], for a range that no peer supplied.
    ///
    /// # Panics
    ///
    /// If the range is not inside, or `offset` is not a multiple of 8.
    #[inline]
    #[must_use]
    pub fn part(&self, offset: usize, len: usize) -> Self {
        self.sub(offset, len).unwrap_or_else(|_| outside())
    }

    /// The control word at `offset`, a multiple of 4.
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

    /// Copies `bytes` to `offset`, by whole words. The words that hold them
    /// belong to the caller by protocol: no peer writes them now.
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

    /// Copies from `offset` into `bytes`, by whole words. A peer that breaks the
    /// protocol can make the copy a mixture, nothing worse.
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

    /// As [`Window::write`], where readers may look on: they find out by
    /// themselves that what they read is a mixture.
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

    /// As [`Window::read`], where the writer may be writing: the caller finds
    /// out by itself that what it read is a mixture.
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

    /// After stores that were not made through the window.
    #[inline(always)]
    pub(crate) fn finish_raw_stores(&self) {
        self.memory.finish_raw_stores(self.len);
    }

    /// Before loads that are not made through the window.
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

/// One for all, so that a check is small where it is made.
#[cold]
#[inline(never)]
fn outside() -> ! {
    panic!("access outside a window: a bug of the caller's")
}
