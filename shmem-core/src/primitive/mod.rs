//! The only switch between the machine's memory and loom's model of it, and all that an
//! access to shared memory takes.
//!
//! Both sides of the switch give the same five things: `AtomicU32`, `fence`, `spin_loop` for
//! who looks again, `Bytes`, an unchecked accessor of shared bytes, and `HeapBytes`, zeroed
//! ones of this program's own. Everything above is written once: `Memory` and `SharedWord` add
//! cache maintenance and fault injection to each access, [`crate::mem::Window`] its bounds.

pub use core::sync::atomic::Ordering;

#[cfg(not(loom))]
mod copy;
#[cfg(not(loom))]
mod machine;
#[cfg(not(loom))]
pub use core::hint::spin_loop;
#[cfg(not(loom))]
pub use core::sync::atomic::{fence, AtomicU32};
#[cfg(not(loom))]
use machine::Bytes;
#[cfg(all(not(loom), feature = "alloc"))]
pub(crate) use machine::HeapBytes;

#[cfg(loom)]
mod model;
#[cfg(loom)]
pub use loom::sync::atomic::{fence, AtomicU32};
#[cfg(loom)]
pub use loom::thread::yield_now as spin_loop;
#[cfg(loom)]
use model::Bytes;
#[cfg(loom)]
pub(crate) use model::HeapBytes;

#[cfg(all(feature = "noncoherent", not(loom)))]
pub mod cache;
#[cfg(all(feature = "crash", not(loom)))]
pub mod crash;

mod hooks;
mod memory;
mod word;

pub(crate) use memory::Memory;
pub(crate) use word::SharedWord;
