//! Incarnations of a scenario's own numbering, for objects whose users are numbered by
//! the place they have in it.
//!
//! Each stands for an incarnation that the harness knows, which the account says.

use shmem_sync::{Liveness, PartitionState};

use crate::kit::{Cell, Incarnation, Ledger, Observer, Outcome, Violation};

/// Partitions of such a numbering.
const PARTITIONS: usize = 8;
/// Incarnations that are remembered of each.
const INCARNATIONS: usize = 16;

/// Words of the account, its first ones.
pub(super) const ACCOUNT: usize = PARTITIONS * INCARNATIONS;

/// Which incarnation stands for which, and what state that one is in.
pub(super) struct Aliases<'m> {
    pub(super) ledger: Ledger<'m>,
    pub(super) observer: Observer<'m>,
}

impl<'m> Aliases<'m> {
    fn cell(&self, alias: Incarnation) -> Cell<'m> {
        let partition = usize::from(alias.partition()) % PARTITIONS;
        let incarnation = alias.number() as usize % INCARNATIONS;
        self.ledger.account(partition * INCARNATIONS + incarnation)
    }

    /// Lets the one after `last` of `partition` stand for `incarnation` from now on.
    pub(super) fn add(
        &self,
        partition: u8,
        last: u32,
        incarnation: Incarnation,
    ) -> Outcome<Incarnation> {
        let alias = Incarnation::after(partition, last);
        let alias =
            alias.ok_or_else(|| Violation::new(format!("nobody follows {partition}.{last}")))?;
        self.cell(alias).set(incarnation.word());
        Ok(alias)
    }

    /// The incarnation that `alias` stands for.
    pub(super) fn get(&self, alias: Incarnation) -> Option<Incarnation> {
        Incarnation::from_word(self.cell(alias).get())
    }
}

impl Liveness for Aliases<'_> {
    fn state(&mut self, alias: Incarnation) -> PartitionState {
        let known = self.get(alias);
        known.map_or(PartitionState::Alive, |known| self.observer.state(known))
    }
}
