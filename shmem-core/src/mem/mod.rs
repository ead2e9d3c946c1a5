//! Bounds-checked access to memory that a peer can write at any time.

mod circular;
#[cfg(any(feature = "alloc", loom))]
mod heap;
mod read_window;
mod slots;
mod struct_window;
mod window;
mod word;

pub(crate) use circular::CircularWindow;
#[cfg(any(feature = "alloc", loom))]
pub use heap::Heap;
pub use read_window::ReadWindow;
pub(crate) use slots::Slots;
pub use struct_window::StructWindow;
pub use window::{OutOfWindow, Window};
pub use word::Word;
