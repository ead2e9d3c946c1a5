//! Locks whose owners die.

mod barrier;
mod mutex;
mod rwlock;
mod semaphore;
mod twin;

pub(super) use barrier::BarrierScenario;
pub(super) use mutex::Exclusion;
pub(super) use rwlock::RwLockScenario;
pub(super) use semaphore::SemaphoreScenario;
