//! Bounds-checked access to memory that a peer can write at any time.

mod circle;
mod read_window;
mod window;
mod word;

#[cfg(any(feature = "alloc", loom))]
pub use crate::primitive::Heap;
pub(crate) use circle::Circle;
pub use read_window::ReadWindow;
pub use window::{OutOfWindow, Window};
pub use word::Word;
