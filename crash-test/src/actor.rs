//! The actor: one incarnation that plays a role, whatever the scenario.
//!
//! A thread of the harness, a process, or work that dies or stops at a store: all are this.

use fastrand::Rng;

use crate::incarnation::Incarnation;
use crate::memory::TestMemory;
use crate::party::{Belongings, Join, Party, Seat, Step};
use crate::verdict::{Outcome, Violation};

/// A part that an actor can play.
pub(crate) struct Role {
    pub(crate) name: &'static str,
    /// The names of its operations.
    pub(crate) ops: &'static [&'static str],
    pub(crate) join: Join,
    /// The operation that shows that the object works for it.
    pub(crate) proof: usize,
    /// The operations of one that comes after a death; `proof` is one of them.
    pub(crate) recovery: &'static [usize],
    /// Whether one incarnation at a time plays it.
    pub(crate) exclusive: bool,
    /// Operations in all of which the object knows who plays this role, and refuses others.
    pub(crate) claimed: &'static [usize],
    /// What those in this role do just before one that was stopped goes on.
    pub(crate) before_return: &'static [usize],
}

impl Role {
    /// A role that any number play, whose first operation is the proof.
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

    /// The same of a role that one incarnation at a time plays.
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

/// What is done wrongly on purpose, to see that it is noticed.
#[derive(Clone, Copy)]
pub(crate) enum Sabotage {
    /// The object is spoilt whenever somebody joins, in a role, after a death.
    SpoilRecovery(fn(&TestMemory<'_>, usize)),
    /// Whoever is silent is taken for gone.
    PresumeGone,
    /// One that was evicted goes on when it is told so.
    IgnoreEviction,
    /// One that was evicted stores into what it had, without a look at its claim.
    StoreAfterEviction(Belongings),
}

/// What an actor does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Join,
    Perform(usize),
    Leave,
}

/// One party at work.
pub(crate) struct Actor<'m> {
    pub(crate) role: &'static Role,
    /// The role's place in the scenario.
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

    /// Performs one operation wholly.
    pub(crate) fn perform(&mut self, op: usize, rng: &mut Rng) -> Outcome<Step> {
        let performed = self.party.perform(op, rng);
        if self.sabotage.is_none() || !self.memory.is_evicted(self.incarnation) {
            return performed;
        }
        match (self.sabotage, performed) {
            (Some(Sabotage::IgnoreEviction), Err(error)) if error.says_evicted => Ok(Step::Done),
            (Some(Sabotage::StoreAfterEviction(belongings)), performed) => {
                for window in belongings(&self.memory, self.incarnation)? {
                    window.zero(0, window.len());
                }
                performed
            }
            (_, performed) => performed,
        }
    }

    /// Performs some operations, whatever comes of them.
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
                let what = format!("nobody is in the way, and {role} cannot `{op}`");
                return Err(Violation::new(what));
            }
        }
        Ok(())
    }

    /// Recovers from a death. Returns whether the proof was possible.
    pub(crate) fn recover(&mut self, rng: &mut Rng) -> Outcome<bool> {
        for &op in self.role.recovery {
            if self.perform(op, rng)? == Step::Done && op == self.role.proof {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Performs any one operation; `note` is given which, before it begins.
    pub(crate) fn perform_any(&mut self, rng: &mut Rng, note: impl FnOnce(usize)) -> Outcome<Step> {
        let op = rng.usize(..self.role.ops.len());
        note(op);
        self.perform(op, rng)
    }
}
