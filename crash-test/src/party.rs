//! What a scenario says of one party: how it joins, and what it can do then.

use fastrand::Rng;
use shmem_core::mem::Window;

use crate::incarnation::Incarnation;
use crate::memory::TestMemory;
use crate::observer::Observer;
use crate::verdict::Outcome;

/// What became of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Done,
    /// There was nothing to do: a full ring, an empty one, no space.
    Idle,
}

/// Who is to play a role.
pub(crate) struct Seat<'m> {
    pub(crate) memory: TestMemory<'m>,
    /// The role's place in the scenario.
    pub(crate) role: usize,
    pub(crate) incarnation: Incarnation,
    pub(crate) observer: Observer<'m>,
}

/// One party's state, with the operations of its role.
pub(crate) trait Party: Send {
    /// Performs operation `op` wholly, and checks the invariants that it can see.
    fn perform(&mut self, op: usize, rng: &mut Rng) -> Outcome<Step>;
}

/// Attaches to the object, after a dead incarnation if there was one.
pub(crate) type Join = for<'m> fn(Seat<'m>) -> Outcome<Box<dyn Party + 'm>>;

/// A party of some scenario, for a [`Join`].
pub(crate) fn boxed<'m>(party: Outcome<impl Party + 'm>) -> Outcome<Box<dyn Party + 'm>> {
    Ok(Box::new(party?))
}

/// Memory that others than an evicted incarnation own, which it is not to change.
pub(crate) type Belongings = for<'m> fn(&TestMemory<'m>, Incarnation) -> Outcome<Vec<Window<'m>>>;
