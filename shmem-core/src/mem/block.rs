//! Shared memory that has the layout of one struct.

use core::marker::PhantomData;
use core::mem::size_of;

use super::{OutOfWindow, Window, Word};
use crate::primitive::Memory;

/// A range of shared memory as long as the struct `T` of [`crate::layout`].
///
/// Its length is a constant. So where an offset is a constant too, the compiler checks the offset,
/// and the program does not.
pub(crate) struct Block<'m, T> {
    memory: Memory<'m>,
    layout: PhantomData<fn() -> T>,
}

impl<T> Clone for Block<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Block<'_, T> {}

impl<'m, T> Block<'m, T> {
    /// Returns the start of `window`.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if `window` is shorter than a `T`.
    #[inline]
    pub(crate) fn new(window: Window<'m>) -> Result<Self, OutOfWindow> {
        let whole = window.sub(0, size_of::<T>())?;
        Ok(Self {
            memory: whole.memory(),
            layout: PhantomData,
        })
    }

    /// Returns all of it.
    #[inline(always)]
    pub(crate) fn window(self) -> Window<'m> {
        Window::new(self.memory, size_of::<T>())
    }

    /// Returns the control word at `offset`, a multiple of 4 in `T`.
    #[inline(always)]
    pub(crate) fn word(self, offset: usize) -> Word<'m> {
        self.window().word(offset)
    }

    /// Returns the struct `U` at `offset`, a multiple of 8; it lies in `T`.
    #[inline(always)]
    pub(crate) fn part<U>(self, offset: usize) -> Block<'m, U> {
        Block {
            memory: self.window().part(offset, size_of::<U>()).memory(),
            layout: PhantomData,
        }
    }
}
