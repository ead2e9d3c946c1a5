//! The only switch between the machine's memory and loom's model of it.
//!
//! Both sides give the same three things: `AtomicU32`, `fence`, and `Memory`,
//! an unchecked accessor of shared bytes on which [`crate::mem::Window`] puts
//! its bounds. Everything above is written once.

pub use core::sync::atomic::Ordering;

#[cfg(not(loom))]
mod copy;
#[cfg(not(loom))]
mod machine;
#[cfg(not(loom))]
pub use core::sync::atomic::{fence, AtomicU32};
#[cfg(all(not(loom), feature = "alloc"))]
pub use machine::Heap;
#[cfg(not(loom))]
pub(crate) use machine::Memory;

#[cfg(loom)]
mod model;
#[cfg(loom)]
pub use loom::sync::atomic::{fence, AtomicU32};
#[cfg(loom)]
pub use model::Heap;
#[cfg(loom)]
pub(crate) use model::Memory;
