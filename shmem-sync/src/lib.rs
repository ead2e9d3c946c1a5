//! Waiting and synchronisation between partitions that may die at any time.
//!
//! | lock            | lets in                         | after a death                             | needs on its memory |
//! |-----------------|---------------------------------|-------------------------------------------|------------------|
//! | [`Mutex`]       | one incarnation                        | the next owner is warned                  | compare-and-swap |
//! | [`RwLock`]      | many that read, or one          | after a writer's, the next ones are warned | compare-and-swap |
//! | [`Semaphore`]   | as many as there are permits    | the permits come back                     | compare-and-swap |
//! | [`BakeryMutex`] | one incarnation                        | the next owner is warned                  | loads and stores |
//! | [`Barrier`]     | all, when all have come         | those that wait are told whose            | loads and stores |
//!
//! **Zeroed memory is ready**: a free lock, a semaphore of no permits, a barrier that nobody has
//! passed. There is no race for who initialises. Each use is by one
//! [`Incarnation`](shmem_core::Incarnation) of a partition; threads of a partition share its
//! incarnation. [`inspect`] is for those that only look.
//!
//! **Guards.** What a lock protects, a value or bytes, is reached through a [`Guard`] or a
//! [`ReadGuard`] alone, and no safe call unlocks without one. Whoever attaches with a type
//! declares its size and alignment in the lock, and one that comes with others is refused.
//! Whoever keeps a [`Window`](shmem_core::Window) on the segment reaches the bytes as a
//! peer does.
//! [`raw`] has the locks without guards and without bytes, for other languages.
//!
//! **Death.** Whoever waits asks a [`Liveness`] whether those in its way still live,
//! and takes what the dead held. What a dead owner's lock protects may be half-changed:
//! the next owner gets it with a warning ([`LockError::OwnerDied`]), repairs it and
//! says so, or the lock is [poisoned](health). An incarnation that was taken for dead while it
//! lived learns it when it unlocks what it no longer has: [`NotHeld`].
//!
//! **Fairness.** Only the bakery is fair: first come, first served. With the others,
//! whoever comes while there is room goes in before those that are still waking
//! up; a wait has no bound but its deadline. Under a [`RwLock`] writers go before
//! readers.
//!
//! Not every memory has compare-and-swap, or fences that work together with the other
//! partition's: two partitions find out by a [`litmus`], before they attach to a lock.
//!
//! # Waits
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
//! | [`EventWait`] | `linux`, an eventfd           | [`EventBell`]        |
//!
//! Each has a deadline, and each sleep ends by itself after
//! [`shmem_core::wait::RECHECK`] at the latest, so that nothing but time is lost
//! with a waker that dies.
//!
//! # Features
//!
//! None is on by default, and the crate is `no_std` without allocation. `std`:
//! waits by the scheduler. `linux`: waits in the kernel.
#![no_std]
#![deny(unsafe_code, missing_docs)]

#[cfg(feature = "std")]
extern crate std;

pub mod health;
pub mod inspect;
pub mod layout;
pub mod litmus;
#[allow(unsafe_code)] // Who unlocks promises to hold the lock.
pub mod raw;

#[allow(unsafe_code)] // Attaching promises one handle.
mod bakery;
#[allow(unsafe_code)] // As of the bakery.
mod barrier;
#[cfg(feature = "std")]
mod deadline;
mod error;
#[allow(unsafe_code)] // Keeps the promises of `raw`.
mod guard;
mod mutex;
mod owner;
mod protected;
mod rwlock;
#[allow(unsafe_code)] // As the guards.
mod semaphore;
mod shape;
mod waiter;

#[cfg(all(feature = "linux", target_os = "linux"))]
mod event;
#[cfg(all(feature = "linux", target_os = "linux"))]
mod futex;
#[cfg(feature = "std")]
mod poll;

pub use bakery::BakeryMutex;
pub use barrier::{Arrival, Barrier, BarrierAttachError, BarrierError};
pub use error::{Acquired, AttachError, LockError, LockFailure, LockResult, NotHeld};
pub use guard::{Guard, ReadGuard};
pub use mutex::Mutex;
pub use protected::Protected;
pub use raw::{AcquireError, AddError};
pub use rwlock::RwLock;
pub use semaphore::{Permit, Semaphore};
pub use shape::Shape;
pub use shmem_core::liveness::{AssumeAlive, Liveness, PartitionState};

#[cfg(all(feature = "linux", target_os = "linux"))]
pub use event::{EventBell, EventWait};
#[cfg(all(feature = "linux", target_os = "linux"))]
pub use futex::{Futex, FutexBell};
#[cfg(feature = "std")]
pub use poll::{SleepPoll, SpinYield};

/// The README's program runs with the documentation tests.
#[cfg(all(doctest, feature = "linux", target_os = "linux"))]
#[doc = include_str!("../README.md")]
struct Readme;
