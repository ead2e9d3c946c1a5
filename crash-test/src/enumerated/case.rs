//! One case of the enumeration: the victim, its fault and action, and the successor.

use shmem_sync::PartitionState;

use crate::actor::Action;
use crate::fault::{Fault, FaultKind};
use crate::incarnation::{Incarnation, next};
use crate::scenario::Scenario;

/// The incarnation that has the fault: the second one of partition 1.
pub(super) fn victim() -> Incarnation {
    next(Incarnation::first(1))
}

#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) scenario: &'static Scenario,
    pub(super) fault: Fault,
    pub(super) shape: u32,
    pub(super) start: u32,
    /// The victim's role.
    pub(super) role: usize,
    /// What the victim does after it has joined.
    pub(super) action: Action,
    /// The role of the actor that recovers.
    pub(super) successor_role: usize,
    /// Whether the successor is a later incarnation of the victim's partition.
    pub(super) is_restart: bool,
}

impl Case {
    /// All cases of one size.
    pub(super) fn all(scenario: &'static Scenario, kind: FaultKind, shape: u32) -> Vec<Self> {
        let roles = scenario.roles;
        let mut cases = Vec::new();
        for start in 0..(scenario.starts)(shape) {
            for (role, victim) in roles.iter().enumerate() {
                let performs = (0..victim.ops.len()).map(Action::Perform);
                let actions = [Action::Join, Action::Leave].into_iter().chain(performs);
                let actions: Vec<_> = actions.enumerate().collect();
                for successor_role in 0..roles.len() {
                    for &fault in kind.faults() {
                        cases.extend(actions.iter().map(|&(at, action)| Self {
                            scenario,
                            fault,
                            shape,
                            start,
                            role,
                            action,
                            successor_role,
                            is_restart: role == successor_role
                                && fault != Fault::Stall(PartitionState::Silent)
                                && (start as usize + at).is_multiple_of(2),
                        }));
                    }
                }
            }
        }
        cases
    }

    /// The incarnation that comes after the victim.
    pub(super) fn successor(self) -> Incarnation {
        match self.is_restart {
            true => next(victim()),
            false => Incarnation::first(2),
        }
    }

    /// Whether the object checks throughout the action that the victim has its role.
    pub(super) fn is_claimed(self) -> bool {
        match self.action {
            Action::Perform(op) => self.scenario.roles[self.role].claimed.contains(&op),
            Action::Join | Action::Leave => false,
        }
    }

    /// Whether the successor plays the victim's role.
    pub(super) fn is_same_role(self) -> bool {
        self.role == self.successor_role
    }

    /// Describes the case, with the store at which the victim and the successor have a fault.
    pub(super) fn describe(self, first: Option<u64>, second: Option<u64>) -> String {
        let Self { shape, start, .. } = self;
        let role = &self.scenario.roles[self.role];
        let doing = match self.action {
            Action::Join => "join",
            Action::Perform(op) => role.ops[op],
            Action::Leave => "leave",
        };
        let fault = match self.fault {
            Fault::Death => "dies",
            Fault::Stall(PartitionState::Gone) => "is stopped, presumed gone,",
            Fault::Stall(_) => "is stopped, silent,",
        };
        let successor = self.scenario.roles[self.successor_role].name;
        let restart = match self.is_restart {
            true => ", its next incarnation",
            false => "",
        };
        let at = first.map_or(String::new(), |at| format!(", at store {at}"));
        let then = second.map_or(String::new(), |at| {
            format!("; then its successor, at store {at}")
        });
        format!(
            "size {shape}, start {start}: {} {fault} in `{doing}`, successor is \
             {successor}{restart}{at}{then}",
            role.name
        )
    }
}
