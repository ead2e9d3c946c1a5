//! Waiting and synchronisation between partitions that may die at any time.
//!
//! | lock | holders at a time | after a holder's death | memory must have |
//! |------|-------------------|------------------------|------------------|
//! | [`Mutex`] | one incarnation | the next owner is warned | compare-and-swap |
//! | [`RwLock`] | many readers or one writer | after a writer's, as [`Mutex`] | compare-and-swap |
//! | [`Semaphore`] | one holder for each permit | its permits become free again | compare-and-swap |
//! | [`BakeryMutex`] | one incarnation | the next owner is warned | loads and stores |
//! | [`Barrier`] | all, when all have arrived | those that wait get an error | loads and stores |
//!
//! **Zeroed memory is ready**: it is a free lock, a semaphore without permits, a barrier that no
//! partition has passed. So partitions do not race to initialise it. Each handle is used by one
//! [`Incarnation`](shmem_core::Incarnation) of a partition; threads of a partition share its
//! incarnation. [`inspect`] is for programs that only read the words.
//!
//! **Guards.** The value or bytes that a lock protects are reached only through a [`Guard`] or a
//! [`ReadGuard`], and no safe call unlocks without one. A partition that attaches with a type
//! declares its size and alignment in the lock; attaching with other sizes or alignments then
//! fails. Code that has a [`Window`](shmem_core::Window) on the segment reaches the bytes as a peer
//! does. [`raw`] has the locks without guards and without bytes, for other languages.
//!
//! **Death.** A waiter asks a [`Liveness`] about the incarnations that it waits for, and takes over
//! what an incarnation that is gone held. The data of a lock whose owner died may be half-changed:
//! the next owner gets the lock with a warning ([`LockError::OwnerDied`]). It repairs the data and
//! calls [`Guard::make_consistent`]; otherwise the lock is [poisoned](health). An incarnation that
//! ran but was treated as gone gets [`NotHeld`] when it unlocks what it no longer has.
//!
//! **Fairness.** Only the bakery mutex is fair: first come, first served. With the others, a
//! partition that arrives while the lock is free enters before those that are still waking up; only
//! its deadline limits a wait. In a [`RwLock`] writers go before readers.
//!
//! Not every memory has compare-and-swap, or fences that also work for the other partition: before
//! they attach to a lock, two partitions test it with a [`litmus`].
//!
//! # Waits
//!
//! `shmem-core` defines waits ([`shmem_core::wait::Wait`]) and one that needs no system,
//! [`shmem_core::wait::Spin`]. These need a scheduler and a clock:
//!
//! | wait          | needs               | ends a sleep       |
//! |---------------|---------------------|--------------------|
//! | [`SpinYield`] | `std`               | does not sleep     |
//! | [`SleepPoll`] | `std`               | a delay that grows |
//! | [`Futex`]     | `linux`, one kernel | [`FutexBell`]      |
//! | [`EventWait`] | `linux`, an eventfd | [`EventBell`]      |
//!
//! Each has a deadline, and each sleep ends after [`shmem_core::wait::RECHECK`] at the latest, so a
//! partition that dies before it wakes another costs only time.
//!
//! # Features
//!
//! No feature is on by default, and the crate is `no_std` without allocation.
//!
//! | feature | adds                         |
//! |---------|------------------------------|
//! | `std`   | waits that use the scheduler |
//! | `linux` | waits in the kernel          |
#![no_std]
#![deny(unsafe_code, missing_docs)]

#[cfg(feature = "std")]
extern crate std;

pub mod health;
pub mod inspect;
pub mod layout;
pub mod litmus;
#[allow(unsafe_code)] // Its callers guarantee that they hold the lock.
pub mod raw;

#[allow(unsafe_code)] // Callers of `attach` guarantee that there is one handle.
mod bakery;
#[allow(unsafe_code)] // As for the bakery.
mod barrier;
#[cfg(feature = "std")]
mod deadline;
mod error;
#[allow(unsafe_code)] // Satisfies the conditions of `raw`.
mod guard;
mod mutex;
mod owner;
mod protected;
mod rwlock;
#[allow(unsafe_code)] // As for the guards.
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
