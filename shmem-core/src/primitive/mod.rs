//! The only switch between the machine's memory and loom's model of it.
//!
//! Both sides give the same four things: `AtomicU32`, `fence`, `spin_loop` for
//! who looks again, and `Memory`, an unchecked accessor of shared bytes on which
//! [`crate::mem::Window`] puts its bounds. Everything above is written once.

pub use core::sync::atomic::Ordering;

#[cfg(not(loom))]
mod copy;
#[cfg(not(loom))]
mod machine;
#[cfg(not(loom))]
pub use core::hint::spin_loop;
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
pub use loom::thread::yield_now as spin_loop;
#[cfg(loom)]
pub use model::Heap;
#[cfg(loom)]
pub(crate) use model::Memory;

#[cfg(all(feature = "noncoherent", not(loom)))]
pub(crate) use crate::cache::{clean, invalidate};

/// Behind a store: nothing to do where caches are coherent.
#[cfg(any(not(feature = "noncoherent"), loom))]
#[inline(always)]
pub(crate) fn clean<T>(_: *const T, _: usize) {}

/// Before a load: nothing to do where caches are coherent.
#[cfg(any(not(feature = "noncoherent"), loom))]
#[inline(always)]
pub(crate) fn invalidate<T>(_: *const T, _: usize) {}

#[cfg(all(feature = "crash", not(loom)))]
pub(crate) use crate::crash::{is_watched, store_happens};

/// Whether a store may happen: always, but in tests of recovery.
#[cfg(any(not(feature = "crash"), loom))]
#[inline(always)]
pub(crate) fn store_happens() -> bool {
    true
}

/// Whether a copy is to be made in two stores, which a death can part.
#[cfg(any(not(feature = "crash"), loom))]
#[inline(always)]
pub(crate) fn is_watched() -> bool {
    false
}
