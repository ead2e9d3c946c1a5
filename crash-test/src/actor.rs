//! The actor: one incarnation that plays a role of any scenario.
//!
//! It runs as a thread of the harness, as a process, or as work that dies or stops at a store.

use fastrand::Rng;

use crate::incarnation::Incarnation;
use crate::memory::TestMemory;
use crate::party::{Join, OthersMemory, Party, Seat, Step};
use crate::verdict::{Outcome, Violation};

/// A role that an actor can play.
pub(crate) struct Role {
    pub(crate) name: &'static str,
    /// The names of its operations.
    pub(crate) ops: &'static [&'static str],
    pub(crate) join: Join,
    /// The operation that shows that the object works for this role.
    pub(crate) proof: usize,
    /// The operations of an actor that joins after a death; `proof` is one of them.
    pub(crate) recovery: &'static [usize],
    /// Whether only one incarnation at a time plays it.
    pub(crate) exclusive: bool,
    /// Operations that check who has this role, and refuse all others.
    pub(crate) claimed: &'static [usize],
    /// Operations that actors of this role perform just before a stopped one goes on.
    pub(crate) before_return: &'static [usize],
}

impl Role {
    /// A role that any number of actors play; its first operation is the proof.
    pub(crate) const fn shared(
        name: &'static str,
        ops: &'static [&'static str],
        join: Join,
    ) -> Self {
        Self {
            name,
            ops,
            join,
            proof: 0,
            recovery: &[0],
            exclusive: false,
            claimed: &[],
            before_return: &[],
        }
    }

    /// A role that one incarnation at a time plays; its first operation is the proof.
    pub(crate) const fn exclusive(
        name: &'static str,
        ops: &'static [&'static str],
        join: Join,
    ) -> Self {
        Self {
            exclusive: true,
            ..Self::shared(name, ops, join)
        }
    }
}

/// A deliberate error, which the run must notice.
#[derive(Clone, Copy)]
pub(crate) enum Sabotage {
    /// Spoils the object each time an actor joins, in a role, after a death.
    SpoilRecovery(fn(&TestMemory<'_>, usize)),
    /// Treats silent partitions as gone.
    PresumeGone,
    /// An evicted actor goes on after the error that reports its eviction.
    IgnoreEviction,
    /// An evicted actor stores into its former memory without checking its claim.
    StoreAfterEviction(OthersMemory),
}

/// One thing that an actor does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Join,
    Perform(usize),
    Leave,
}

/// One party that works.
pub(crate) struct Actor<'m> {
    pub(crate) role: &'static Role,
    /// The index of the role in the scenario.
    pub(crate) place: usize,
    pub(crate) incarnation: Incarnation,
    memory: TestMemory<'m>,
    sabotage: Option<Sabotage>,
    party: Box<dyn Party + 'm>,
}

impl<'m> Actor<'m> {
    pub(crate) fn join(
        role: &'static Role,
        seat: Seat<'m>,
        sabotage: Option<Sabotage>,
    ) -> Outcome<Self> {
        let (memory, place, incarnation) = (seat.memory, seat.role, seat.incarnation);
        if let (Some(Sabotage::SpoilRecovery(spoil)), 1..) =
            (sabotage, memory.ledger.deaths().get())
        {
            spoil(&memory, place);
        }
        Ok(Self {
            role,
            place,
            incarnation,
            memory,
            sabotage,
            party: (role.join)(seat)?,
        })
    }

    /// Performs one complete operation.
    pub(crate) fn perform(&mut self, op: usize, rng: &mut Rng) -> Outcome<Step> {
        let performed = self.party.perform(op, rng);
        if self.sabotage.is_none() || !self.memory.is_evicted(self.incarnation) {
            return performed;
        }
        match (self.sabotage, performed) {
            (Some(Sabotage::IgnoreEviction), Err(error)) if error.is_eviction => Ok(Step::Done),
            (Some(Sabotage::StoreAfterEviction(others_memory)), performed) => {
                for window in others_memory(&self.memory, self.incarnation)? {
                    window.zero(0, window.len());
                }
                performed
            }
            (_, performed) => performed,
        }
    }

    /// Performs some operations; they need not be possible.
    pub(crate) fn perform_each(
        &mut self,
        ops: impl IntoIterator<Item = usize>,
        rng: &mut Rng,
    ) -> Outcome {
        ops.into_iter()
            .try_for_each(|op| self.perform(op, rng).map(drop))
    }

    /// Performs all operations of its role, each of which must be possible.
    pub(crate) fn perform_all(&mut self, rng: &mut Rng) -> Outcome {
        for op in 0..self.role.ops.len() {
            if self.perform(op, rng)? == Step::Idle {
                let (role, op) = (self.role.name, self.role.ops[op]);
                let what = format!("no other party works, and {role} cannot `{op}`");
                return Err(Violation::new(what));
            }
        }
        Ok(())
    }

    /// Recovers from a death. Returns true if the proof was possible.
    pub(crate) fn recover(&mut self, rng: &mut Rng) -> Outcome<bool> {
        for &op in self.role.recovery {
            if self.perform(op, rng)? == Step::Done && op == self.role.proof {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Performs a random operation; calls `note` with its index first.
    pub(crate) fn perform_any(&mut self, rng: &mut Rng, note: impl FnOnce(usize)) -> Outcome<Step> {
        let op = rng.usize(..self.role.ops.len());
        note(op);
        self.perform(op, rng)
    }
}
