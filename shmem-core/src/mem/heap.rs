//! Private memory in place of shared memory.

use super::Window;
use crate::primitive::HeapBytes;

/// Zeroed private memory in place of shared memory, for tests and models.
pub struct Heap {
    bytes: HeapBytes,
    len: usize,
}

impl Heap {
    /// Allocates `len` zeroed bytes, aligned to 128.
    pub fn new(len: usize) -> Self {
        Self {
            bytes: HeapBytes::new(len),
            len,
        }
    }

    /// As [`Heap::new`], but never freed during the model's execution.
    #[cfg(loom)]
    pub fn leaked(len: usize) -> &'static Self {
        alloc::boxed::Box::leak(alloc::boxed::Box::new(Self::new(len)))
    }

    /// Returns all of the memory.
    pub fn window(&self) -> Window<'_> {
        Window::new(self.bytes.memory().into(), self.len)
    }
}
