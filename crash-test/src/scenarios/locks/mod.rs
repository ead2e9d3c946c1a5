//! Locks whose owners die.

mod barrier;
mod calls;
mod counter_pair;
mod exclusive;
mod rwlock;
mod semaphore;

pub(crate) use barrier::BARRIER;
pub(crate) use exclusive::{BAKERY, MUTEX};
pub(crate) use rwlock::RWLOCK;
pub(crate) use semaphore::SEMAPHORE;
