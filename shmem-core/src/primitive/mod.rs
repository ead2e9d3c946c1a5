//! The only switch between the machine's memory and loom's model of it.
//!
//! Both sides of the switch define the same five items: `AtomicU32`; `fence`; `spin_loop`, for
//! loops that check again; `Bytes`, an unchecked accessor of shared bytes; and `HeapBytes`,
//! zeroed private bytes. All other code is the same on both sides: `Memory` and `SharedWord` add
//! cache maintenance and fault injection to each access, [`crate::mem::Window`] adds bounds
//! checks.

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
