//! Private memory that stands in for shared memory.

use super::Window;
use crate::primitive::HeapBytes;

/// Zeroed private memory that stands in for shared memory in tests and models.
pub struct Heap {
    bytes: HeapBytes,
    len: usize,
}

impl Heap {
    /// `len` zeroed bytes, aligned to 128.
    pub fn new(len: usize) -> Self {
        Self {
            bytes: HeapBytes::new(len),
            len,
        }
    }

    /// As [`Heap::new`], for the rest of the model's execution.
    #[cfg(loom)]
    pub fn leaked(len: usize) -> &'static Self {
        alloc::boxed::Box::leak(alloc::boxed::Box::new(Self::new(len)))
    }

    /// The whole of it.
    pub fn window(&self) -> Window<'_> {
        Window::over(self.bytes.memory().into(), self.len)
    }
}
