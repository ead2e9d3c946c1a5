//! A scenario, as data: an object in shared memory, the roles that actors play on it, and
//! what must hold whenever one of them has died or was stopped.
//!
//! A new scenario names its roles and gives each a [`Party`](crate::party::Party); what it
//! does not say is as in [`Scenario::BASE`].

use fastrand::Rng;

use crate::actor::{Actor, Role, Sabotage};
use crate::memory::{Layout, TestMemory};
use crate::observer::Observer;
use crate::party::Belongings;
use crate::scene::Scene;
use crate::verdict::Outcome;

/// Who plays in a round of processes.
pub(crate) struct Cast {
    /// The roles of the processes, each of which may be killed.
    pub(crate) victims: &'static [usize],
    /// The roles of actors in the harness.
    pub(crate) survivors: &'static [usize],
}

impl Cast {
    pub(crate) const fn new(victims: &'static [usize], survivors: &'static [usize]) -> Self {
        Self { victims, survivors }
    }
}

/// Holds the object against the ledger while nobody else works on it; there is an actor for
/// each role, in their order. In the end, nobody has anything left to do.
pub(crate) type Audit = for<'m> fn(&Scene<'m>, &mut [&mut Actor<'m>], end: bool) -> Outcome;

#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// One line for a person who chooses.
    pub(crate) about: &'static str,
    pub(crate) roles: &'static [Role],
    pub(crate) casts: &'static [Cast],
    /// Sizes of the object.
    pub(crate) shapes: &'static [u32],
    /// Those for the enumeration of stalls, if they are others.
    pub(crate) stall_shapes: &'static [u32],
    pub(crate) layout: fn(shape: u32) -> Layout,
    /// Makes fresh memory what the scenario begins with.
    pub(crate) initialize: fn(&TestMemory<'_>) -> Outcome,
    /// How many starting states there are for the enumeration of stores.
    pub(crate) starts: fn(shape: u32) -> u32,
    /// Brings a fresh object into a starting state.
    pub(crate) prepare: for<'m> fn(&Scene<'m>, start: u32) -> Outcome,
    /// Which role does what in turn, again and again, before a party has its fault in something
    /// else than its joining: what it has in private memory depends on that.
    pub(crate) rehearsal: &'static [(usize, usize)],
    /// Releases what a starting state held.
    pub(crate) release_held: fn(&TestMemory<'_>) -> Outcome,
    pub(crate) belongings: Belongings,
    /// What a person wants to see of an object that does not work any more.
    pub(crate) describe: fn(&TestMemory<'_>) -> String,
    pub(crate) audit: Audit,
    /// Whether an audit is worth its time after each death, and not only at the end.
    pub(crate) audits_each_death: bool,
    pub(crate) sabotage: Option<Sabotage>,
}

impl Scenario {
    /// What most scenarios do not change.
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
        belongings: |_, _| Ok(Vec::new()),
        describe: |_| String::new(),
        audit: all_work,
        audits_each_death: true,
        sabotage: None,
    };

    /// Memory that is formatted for it, with the observer of whoever looks on.
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

    /// Whether others take a silent party for gone, which is wrong.
    pub(crate) fn presumes_gone(&self) -> bool {
        matches!(self.sabotage, Some(Sabotage::PresumeGone))
    }
}

/// An audit: at rest, every operation of every role is possible.
fn all_work<'m>(_: &Scene<'m>, actors: &mut [&mut Actor<'m>], _: bool) -> Outcome {
    let mut rng = Rng::with_seed(0);
    actors
        .iter_mut()
        .try_for_each(|actor| actor.perform_all(&mut rng))
}
