//! The interface of one party of a scenario: how it joins, and its operations.

use fastrand::Rng;
use shmem_core::mem::Window;

use crate::incarnation::Incarnation;
use crate::memory::TestMemory;
use crate::observer::Observer;
use crate::verdict::Outcome;

/// The result of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Done,
    /// It was not possible: a full ring, an empty one, no space.
    Idle,
}

/// What a party needs to join in a role.
pub(crate) struct Seat<'m> {
    pub(crate) memory: TestMemory<'m>,
    /// The index of the role in the scenario.
    pub(crate) role: usize,
    pub(crate) incarnation: Incarnation,
    pub(crate) observer: Observer<'m>,
}

/// One party's state, with the operations of its role.
pub(crate) trait Party: Send {
    /// Performs operation `op` completely, and checks the invariants that it can see.
    fn perform(&mut self, op: usize, rng: &mut Rng) -> Outcome<Step>;
}

/// Attaches to the object, and takes over from a dead incarnation if there is one.
pub(crate) type Join = for<'m> fn(Seat<'m>) -> Outcome<Box<dyn Party + 'm>>;

/// Boxes a party, as a [`Join`] returns it.
pub(crate) fn boxed<'m>(party: Outcome<impl Party + 'm>) -> Outcome<Box<dyn Party + 'm>> {
    Ok(Box::new(party?))
}

/// Returns the memory that others own, which an evicted incarnation must not change.
pub(crate) type OthersMemory = for<'m> fn(&TestMemory<'m>, Incarnation) -> Outcome<Vec<Window<'m>>>;
