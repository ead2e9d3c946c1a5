//! A scenario, as data: an object in shared memory, the roles that actors play on it, and
//! what must hold after one of them has died or was stopped.
//!
//! A new scenario names its roles and gives each a [`Party`](crate::party::Party); fields that
//! it does not set are those of [`Scenario::BASE`].

use fastrand::Rng;

use crate::actor::{Actor, Role, Sabotage};
use crate::memory::{Layout, TestMemory};
use crate::observer::Observer;
use crate::party::OthersMemory;
use crate::scene::Scene;
use crate::verdict::Outcome;

/// The roles in a round of processes.
pub(crate) struct Cast {
    /// The roles of the processes, which may be killed.
    pub(crate) victims: &'static [usize],
    /// The roles of actors in the harness.
    pub(crate) survivors: &'static [usize],
}

impl Cast {
    pub(crate) const fn new(victims: &'static [usize], survivors: &'static [usize]) -> Self {
        Self { victims, survivors }
    }
}

/// Compares the object with the ledger while no other party works on it. `actors` has one
/// actor for each role, in their order. At the end no party has anything left to do.
pub(crate) type Audit = for<'m> fn(&Scene<'m>, &mut [&mut Actor<'m>], end: bool) -> Outcome;

#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// One line that describes it to a user.
    pub(crate) about: &'static str,
    pub(crate) roles: &'static [Role],
    pub(crate) casts: &'static [Cast],
    /// Sizes of the object.
    pub(crate) shapes: &'static [u32],
    /// Sizes for the enumeration of stalls, if they differ.
    pub(crate) stall_shapes: &'static [u32],
    pub(crate) layout: fn(shape: u32) -> Layout,
    /// Brings fresh memory into the state in which the scenario begins.
    pub(crate) initialize: fn(&TestMemory<'_>) -> Outcome,
    /// How many starting states there are for the enumeration of stores.
    pub(crate) starts: fn(shape: u32) -> u32,
    /// Brings a fresh object into a starting state.
    pub(crate) prepare: for<'m> fn(&Scene<'m>, start: u32) -> Outcome,
    /// Pairs of role and operation, repeated before a party has its fault in anything but joining:
    /// the state in its private memory depends on them.
    pub(crate) rehearsal: &'static [(usize, usize)],
    /// Releases what a starting state holds.
    pub(crate) release_held: fn(&TestMemory<'_>) -> Outcome,
    pub(crate) others_memory: OthersMemory,
    /// Describes an object that does not work any more.
    pub(crate) describe: fn(&TestMemory<'_>) -> String,
    pub(crate) audit: Audit,
    /// Whether to audit after each death, and not only at the end.
    pub(crate) audits_each_death: bool,
    pub(crate) sabotage: Option<Sabotage>,
}

impl Scenario {
    /// Defaults of the fields.
    pub(crate) const BASE: Self = Self {
        name: "",
        about: "",
        roles: &[],
        casts: &[],
        shapes: &[0],
        stall_shapes: &[],
        layout: |_| Layout {
            geometry: Layout::SMALL,
            space: 0,
            object: None,
            account: 0,
        },
        initialize: |_| Ok(()),
        starts: |_| 1,
        prepare: |_, _| Ok(()),
        rehearsal: &[],
        release_held: |_| Ok(()),
        others_memory: |_, _| Ok(Vec::new()),
        describe: |_| String::new(),
        audit: all_work,
        audits_each_death: true,
        sabotage: None,
    };

    /// Builds the scene on memory that is formatted for this scenario.
    pub(crate) fn scene<'m>(&self, memory: TestMemory<'m>, observer: Observer<'m>) -> Scene<'m> {
        Scene {
            roles: self.roles,
            sabotage: self.sabotage,
            memory,
            observer,
        }
    }

    pub(crate) fn stall_shapes(&self) -> &'static [u32] {
        match self.stall_shapes {
            [] => self.shapes,
            shapes => shapes,
        }
    }

    /// Whether others presume a silent party gone, which is wrong.
    pub(crate) fn presumes_gone(&self) -> bool {
        matches!(self.sabotage, Some(Sabotage::PresumeGone))
    }
}

/// An audit: while no other party works, every operation of every role is possible.
fn all_work<'m>(_: &Scene<'m>, actors: &mut [&mut Actor<'m>], _: bool) -> Outcome {
    let mut rng = Rng::with_seed(0);
    actors
        .iter_mut()
        .try_for_each(|actor| actor.perform_all(&mut rng))
}
