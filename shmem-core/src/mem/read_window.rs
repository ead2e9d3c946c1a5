//! A read-only range of shared memory.

use super::{OutOfWindow, Window};

/// A range of shared memory that this program may read, but not write, for `'w`.
///
/// A lock gives it to its readers.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use shmem_core::mem::{Heap, ReadWindow};
///
/// let heap = Heap::new(8);
/// heap.window().write(0, b"together");
/// let mut bytes = [0; 3];
/// ReadWindow::from(heap.window()).read(5, &mut bytes);
/// assert_eq!(&bytes, b"her");
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct ReadWindow<'w>(Window<'w>);

impl ReadWindow<'_> {
    /// Returns the length of the window in bytes.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // An empty window has no use.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Copies from `offset` into `bytes`, as [`Window::read`] does.
    ///
    /// # Panics
    ///
    /// If the range is not inside the window.
    #[inline]
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        self.0.read(offset, bytes);
    }

    /// Returns a part of the window; `len` is rounded down to a multiple of 8.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if the range is not inside, or `offset` is not a multiple of 8.
    pub fn sub(&self, offset: usize, len: usize) -> Result<Self, OutOfWindow> {
        self.0.sub(offset, len).map(Self)
    }
}

impl<'w> From<Window<'w>> for ReadWindow<'w> {
    fn from(window: Window<'w>) -> Self {
        Self(window)
    }
}
