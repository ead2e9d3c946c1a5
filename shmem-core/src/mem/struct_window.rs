//! Shared memory that has the layout of one struct.

use core::marker::PhantomData;
use core::mem::size_of;

use super::{OutOfWindow, Window, Word};
use crate::primitive::Memory;

/// A range of shared memory that has the layout of the struct `T`, [`crate::layout::RingControl`]
/// for example.
///
/// Its length is a constant. So where an offset is a constant too, the compiler checks the offset,
/// and the program does not.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use shmem_core::layout::Bell;
/// use shmem_core::mem::{Heap, StructWindow};
/// use shmem_core::primitive::Ordering::Relaxed;
///
/// let heap = Heap::new(128);
/// let bell = StructWindow::<Bell>::new(heap.window()).unwrap();
/// bell.word(4).store(1, Relaxed);
/// assert_eq!(heap.window().word(4).load(Relaxed), 1);
/// # }
/// ```
pub struct StructWindow<'m, T> {
    memory: Memory<'m>,
    layout: PhantomData<fn() -> T>,
}

impl<T> Clone for StructWindow<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for StructWindow<'_, T> {}

impl<'m, T> StructWindow<'m, T> {
    /// Returns the start of `window`.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if `window` is shorter than a `T`.
    #[inline]
    pub fn new(window: Window<'m>) -> Result<Self, OutOfWindow> {
        let whole = window.sub(0, size_of::<T>())?;
        Ok(Self {
            memory: whole.memory(),
            layout: PhantomData,
        })
    }

    /// Returns the struct at `offset` in `window`, a multiple of 8.
    ///
    /// # Panics
    ///
    /// If the struct is not inside the window.
    #[inline(always)]
    pub fn at(window: Window<'m>, offset: usize) -> Self {
        Self {
            memory: window.part(offset, size_of::<T>()).memory(),
            layout: PhantomData,
        }
    }

    /// Returns all of it.
    #[inline(always)]
    pub fn window(self) -> Window<'m> {
        Window::new(self.memory, size_of::<T>())
    }

    /// Returns the control word at `offset`, a multiple of 4.
    ///
    /// # Panics
    ///
    /// If the word is not in `T`.
    #[inline(always)]
    pub fn word(self, offset: usize) -> Word<'m> {
        self.window().word(offset)
    }

    /// Returns the struct `U` at `offset`, a multiple of 8.
    ///
    /// # Panics
    ///
    /// If the struct is not in `T`.
    #[must_use]
    #[inline(always)]
    pub fn part<U>(self, offset: usize) -> StructWindow<'m, U> {
        StructWindow::at(self.window(), offset)
    }
}
