//! Bounds-checked access to memory that a peer can write at any time.

mod window;
mod word;

#[cfg(any(feature = "alloc", loom))]
pub use crate::primitive::Heap;
pub use window::{OutOfWindow, Window};
pub use word::Word;
