//! The scenarios, one object each.

mod alias;
mod attach;
pub(crate) mod channel;
mod locks;
mod registry;
mod ring;
mod snapshot;
mod tag;
mod typed_ring;

use crate::scenario::Scenario;
pub(crate) use attach::ATTACH;
pub(crate) use channel::{CALL, CHANNEL, SESSION};
pub(crate) use locks::{BAKERY, BARRIER, MUTEX, RWLOCK, SEMAPHORE};
pub(crate) use registry::REGISTRY;
pub(crate) use ring::{RING_COMMANDS, RING_RESULTS};
pub(crate) use snapshot::SNAPSHOT;
pub(crate) use typed_ring::{TYPED_COMMANDS, TYPED_RESULTS};

/// All scenarios, in the order in which they run.
pub(crate) static ALL: [&Scenario; 15] = [
    &RING_RESULTS,
    &RING_COMMANDS,
    &TYPED_RESULTS,
    &TYPED_COMMANDS,
    &SNAPSHOT,
    &REGISTRY,
    &ATTACH,
    &MUTEX,
    &BAKERY,
    &RWLOCK,
    &SEMAPHORE,
    &BARRIER,
    &SESSION,
    &CHANNEL,
    &CALL,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_names_only_roles_and_operations_that_it_has() {
        for scenario in ALL {
            for role in scenario.roles {
                assert!(role.recovery.contains(&role.proof), "{}", role.name);
                let ops = [role.recovery, role.claimed, role.before_return].concat();
                let exist = ops.iter().all(|&op| op < role.ops.len());
                assert!(exist, "{} of {}", role.name, scenario.name);
            }
            for cast in scenario.casts {
                let roles = [cast.victims, cast.survivors].concat();
                let exist = roles.iter().all(|&role| role < scenario.roles.len());
                assert!(exist, "a cast of {}", scenario.name);
            }
        }
    }
}
