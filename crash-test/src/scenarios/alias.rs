//! Lives of a scenario's own numbering, for objects whose users are numbered by
//! the place they have in it.
//!
//! Each stands for a life that the harness knows, which the account says.

use shmem_core::Life;
use shmem_sync::{Liveness, PartitionState};

use crate::deaths::Deaths;
use crate::scenario::{Outcome, Violation};
use crate::stage::{Cell, Ledger};

/// Partitions of such a numbering.
const PARTITIONS: usize = 8;
/// Lives that are remembered of each.
const LIVES: usize = 16;

/// Words of the account.
pub(super) const ACCOUNT: usize = PARTITIONS * LIVES;

/// Which life stands for which, in the account from word `at` on.
#[derive(Clone, Copy)]
pub(super) struct Aliases<'m> {
    pub(super) ledger: Ledger<'m>,
    pub(super) at: usize,
}

impl<'m> Aliases<'m> {
    fn cell(self, alias: Life) -> Cell<'m> {
        let partition = usize::from(alias.partition()) % PARTITIONS;
        let life = alias.incarnation() as usize % LIVES;
        self.ledger.account(self.at + partition * LIVES + life)
    }

    /// Lets `alias` stand for `life` from now on.
    pub(super) fn set(self, alias: Life, life: Life) {
        self.cell(alias).set(life.word());
    }

    /// The life that `alias` stands for.
    pub(super) fn get(self, alias: Life) -> Option<Life> {
        Life::from_word(self.cell(alias).get())
    }

    /// The next life of `partition` in this numbering, which counts them in `count`.
    pub(super) fn next(self, partition: u8, count: Cell<'_>, life: Life) -> Outcome<Life> {
        let alias = Life::after(partition, count.get());
        let alias = alias.ok_or_else(|| Violation::new(format!("no partition {partition}")))?;
        self.set(alias, life);
        count.set(alias.incarnation());
        Ok(alias)
    }
}

/// Whether such a life is over.
pub(super) struct AliasDeaths<'m> {
    pub(super) aliases: Aliases<'m>,
    pub(super) deaths: Deaths<'m>,
}

impl Liveness for AliasDeaths<'_> {
    fn state(&mut self, alias: Life) -> PartitionState {
        let life = self.aliases.get(alias);
        life.map_or(PartitionState::Alive, |life| self.deaths.state(life))
    }
}
