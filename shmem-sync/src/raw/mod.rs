//! The protocols of the locks, without guards: for other languages, and for callers
//! that cannot keep a guard.
//!
//! A raw lock is acquired by a safe call, as acquiring one and keeping it harms nobody.
//! Whoever unlocks it promises that it is theirs to unlock, and so do those that repair
//! what it protects or read without a guard; hence those calls are `unsafe`. None of these
//! types knows what its lock protects, nor who else knows.

pub(crate) mod bakery;
mod mutex;
mod rwlock;
mod semaphore;

pub use bakery::RawBakeryMutex;
pub use mutex::RawMutex;
pub use rwlock::RawRwLock;
pub use semaphore::{AcquireError, AddError, RawSemaphore};

use shmem_core::doorbell::Doorbell;

/// What wakes those that wait for a lock; used only while somebody may sleep.
pub type DoorbellRef<'m> = &'m (dyn Doorbell + Sync);
