//! Waiting and synchronisation between partitions.
//!
//! `shmem-core` says what a wait is ([`shmem_core::wait::Wait`]) and has the one
//! that needs nothing, [`shmem_core::wait::Spin`]. Here are those that need a
//! scheduler and a clock, and what wakes them:
//!
//! | wait          | needs                         | woken by             |
//! |---------------|-------------------------------|----------------------|
//! | [`SpinYield`] | `std`                         | looking              |
//! | [`SleepPoll`] | `std`                         | looking, less and less often |
//! | [`Futex`]     | `linux`, one kernel           | [`FutexBell`]        |
//!
//! Each has a deadline, and each sleep ends by itself after
//! [`shmem_core::wait::RECHECK`] at the latest.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(feature = "std")]
extern crate std;

#[cfg(all(feature = "linux", target_os = "linux"))]
mod futex;
#[cfg(feature = "std")]
mod poll;

#[cfg(all(feature = "linux", target_os = "linux"))]
pub use futex::{Futex, FutexBell};
#[cfg(feature = "std")]
pub use poll::{SleepPoll, SpinYield};
