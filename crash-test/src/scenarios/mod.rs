//! The scenarios, one object each.

mod alias;
mod attach;
mod locks;
mod registry;
mod ring;
mod snapshot;
mod tag;

use crate::scenario::Scenario;
pub(crate) use attach::ATTACH;
pub(crate) use locks::{BAKERY, BARRIER, MUTEX, RWLOCK, SEMAPHORE};
pub(crate) use registry::REGISTRY;
pub(crate) use ring::{RING_COMMANDS, RING_RESULTS};
pub(crate) use snapshot::SNAPSHOT;

/// All scenarios, in the order in which they run.
pub(crate) static ALL: [&Scenario; 10] = [
    &RING_RESULTS,
    &RING_COMMANDS,
    &SNAPSHOT,
    &REGISTRY,
    &ATTACH,
    &MUTEX,
    &BAKERY,
    &RWLOCK,
    &SEMAPHORE,
    &BARRIER,
];
