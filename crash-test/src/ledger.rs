//! The ledger: words outside the region in which actors note what they attempt and what was
//! acknowledged, so that others can be checked against it. The harness controls actors there.
//!
//! The ledger is not part of what is tested. Stores to it are not counted. Their order keeps
//! the ledger unambiguous wherever the writer dies.

use std::sync::atomic::Ordering::AcqRel;

use shmem_core::mem::Window;
use shmem_core::primitive::AtomicU32;
use shmem_core::primitive::Ordering::{Acquire, Release};

/// Bytes for the harness, and for each slot.
const LINE: usize = 64;
/// Processes that have words of their own.
const SLOTS: usize = 8;
/// Bytes before the scenario's own account.
const FRONT: usize = LINE * (SLOTS + 1);

/// A word of the ledger. A store to it publishes all earlier stores.
#[derive(Clone, Copy)]
pub(crate) struct Cell<'m>(&'m AtomicU32);

impl<'m> Cell<'m> {
    pub(crate) fn get(self) -> u32 {
        self.0.load(Acquire)
    }

    pub(crate) fn set(self, value: u32) {
        self.0.store(value, Release);
    }

    pub(crate) fn add(self, count: u32) -> u32 {
        self.0.fetch_add(count, AcqRel)
    }

    pub(crate) fn swap(self, value: u32) -> u32 {
        self.0.swap(value, AcqRel)
    }

    pub(crate) fn word(self) -> &'m AtomicU32 {
        self.0
    }
}

/// A count of operations that stays usable after a death: `attempted` is raised before an
/// operation can happen, `acknowledged` after it has returned.
#[derive(Clone, Copy)]
pub(crate) struct Count<'m> {
    pub(crate) acknowledged: Cell<'m>,
    pub(crate) attempted: Cell<'m>,
}

/// The ledger's words.
#[derive(Clone, Copy)]
pub(crate) struct Ledger<'m>(Window<'m>);

impl<'m> Ledger<'m> {
    /// Bytes of a ledger whose account has `account` words.
    pub(crate) fn len(account: usize) -> usize {
        (FRONT + account * 4).next_multiple_of(128)
    }

    pub(crate) fn new(memory: Window<'m>) -> Self {
        Self(memory)
    }

    /// Word `at` of the scenario's account.
    pub(crate) fn account(self, at: usize) -> Cell<'m> {
        self.cell(FRONT + at * 4)
    }

    /// A count in words `at` and `at + 1` of the scenario's account.
    pub(crate) fn count(self, at: usize) -> Count<'m> {
        Count {
            acknowledged: self.account(at),
            attempted: self.account(at + 1),
        }
    }

    /// Words of the scenario's account.
    pub(crate) fn account_len(self) -> usize {
        (self.0.len() - FRONT) / 4
    }

    /// Not 0 while all processes must rest.
    pub(crate) fn rest(self) -> Cell<'m> {
        self.cell(0)
    }

    /// How many incarnations died, each counted before it did.
    pub(crate) fn deaths(self) -> Cell<'m> {
        self.cell(4)
    }

    /// How often an incarnation was silent for longer than the limit and not gone.
    pub(crate) fn false_silences(self) -> Cell<'m> {
        self.cell(8)
    }

    /// Not 0 while a party holds the object and releases it later: then others may time out.
    pub(crate) fn held(self) -> Cell<'m> {
        self.cell(12)
    }

    /// The incarnation that its peers presumed gone and that still runs; 0 if there is none.
    pub(crate) fn evicted(self) -> Cell<'m> {
        self.cell(16)
    }

    /// Not 0 until a party has repaired the last step of an evicted party, which may have left
    /// it half done before it learned of its eviction.
    pub(crate) fn half_done(self) -> Cell<'m> {
        self.cell(20)
    }

    /// The words of one process.
    pub(crate) fn slot(self, slot: usize) -> Slot<'m> {
        assert!(slot < SLOTS, "slot {slot} does not exist");
        let cell = |at: usize| self.cell(LINE * (slot + 1) + at * 4);
        Slot {
            ready: cell(0),
            operations: cell(1),
            doing: cell(2),
            resting: cell(3),
        }
    }

    fn cell(self, offset: usize) -> Cell<'m> {
        Cell(self.0.word(offset).as_atomic())
    }
}

/// The state that one process reports.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'m> {
    /// Not 0 after it has joined in its role.
    pub(crate) ready: Cell<'m>,
    /// Operations that it has performed.
    pub(crate) operations: Cell<'m>,
    /// The operation that is under way, from 1; 0 before the first.
    doing: Cell<'m>,
    /// Not 0 while it rests.
    pub(crate) resting: Cell<'m>,
}

impl Slot<'_> {
    /// Resets the words for another process.
    pub(crate) fn clear(self) {
        for cell in [self.ready, self.operations, self.doing, self.resting] {
            cell.set(0);
        }
    }

    pub(crate) fn set_doing(self, op: usize) {
        self.doing.set(op as u32 + 1);
    }

    /// The operation that is under way; `None` before the first.
    pub(crate) fn doing(self) -> Option<usize> {
        self.doing.get().checked_sub(1).map(|op| op as usize)
    }
}
