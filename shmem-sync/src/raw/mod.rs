//! The protocols of the locks, without guards: for other languages, and for callers that cannot
//! keep a guard.
//!
//! Acquiring a raw lock is safe, because keeping it harms no other program. A caller that unlocks
//! it guarantees that it holds the lock. A caller that declares the data repaired, or reads without
//! a guard, gives a similar guarantee. So those calls are `unsafe`. These types do not know what
//! their locks protect, nor which other handles exist.

pub(crate) mod bakery;
mod mutex;
mod rwlock;
mod semaphore;

pub use bakery::RawBakeryMutex;
pub use mutex::RawMutex;
pub use rwlock::RawRwLock;
pub use semaphore::{AcquireError, AddError, RawSemaphore};

use shmem_core::doorbell::Doorbell;

/// The doorbell that wakes those that wait for a lock; used only while a partition may sleep.
pub type DoorbellRef<'m> = &'m (dyn Doorbell + Sync);
