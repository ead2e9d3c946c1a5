//! Incarnations with a scenario's own numbers, for objects that number their users by place.
//!
//! Each alias stands for an incarnation of the harness; the account has the pairs.

use shmem_sync::{Liveness, PartitionState};

use crate::kit::{Cell, Incarnation, Ledger, Observer, Outcome, Violation};

/// Partitions of such a numbering.
const PARTITIONS: usize = 8;
/// Incarnations that the account has for each partition.
const INCARNATIONS: usize = 16;

/// Words of the account; they are its first ones.
pub(super) const ACCOUNT: usize = PARTITIONS * INCARNATIONS;

/// Translates aliases to incarnations and their states.
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

    /// Makes the incarnation of `partition` after `last` an alias of `incarnation`.
    pub(super) fn add(
        &self,
        partition: u8,
        last: u32,
        incarnation: Incarnation,
    ) -> Outcome<Incarnation> {
        let alias = Incarnation::next(partition, last);
        let alias = alias
            .ok_or_else(|| Violation::new(format!("no incarnation follows {partition}.{last}")))?;
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
