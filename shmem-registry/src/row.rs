//! Who works on a row.
//!
//! | owner | bit 0 of `state` | row                                              |
//! |-------|------------------|--------------------------------------------------|
//! | 0     | 0                | free                                             |
//! | incarnation  | 0 or 1           | that incarnation creates its segment, or takes it down  |
//! | 0     | 1                | names a segment; if `next` is marked, one that was removed and that anybody may take down |
//!
//! - **T1** Only a row's owner changes the row, but for its `next`, and the map's
//!   words of the row.
//! - **T2** A row's generation moves before the row is used again.
//! - **T3** A segment is zero when its row is linked.
//! - **T4** A row that is linked and not marked names a segment, whoever owns it:
//!   what its owner has left to do is no obstacle to anybody.
//! - **T5** An owner looks whether the row is still its own, in this use, before each
//!   bounded step: a page of memory, a page of the map, the link. One that was evicted
//!   meanwhile stops there. What it changes in the tables is changed by exchanges of
//!   words that name the row's generation, so that a late one comes to nothing.
//! - **T6** A row is marked before it is taken down. So one that an evicted creator links
//!   meanwhile is taken out of its chain again, and nobody links behind it.
//!
//! | store                    | paired load                 | hands over       |
//! |--------------------------|-----------------------------|------------------|
//! | `owner` in `let_go`      | `owner` in `own_row`        | a row            |
//! | mark in `remove`, fence  | fence, mark in `release`    | that it is to be taken down |
//! | `state` in `retire`      | `state` in `generation_matches`          | that nothing links to the earlier use |

use shmem_core::primitive::Ordering::{Acquire, Relaxed, Release};

use crate::claimant::Caller;
use crate::evicted::Evicted;
use crate::memory::{Registry, NAMED};

/// A row that is ours, in one use of it.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'c, 'm> {
    pub(crate) registry: Registry<'m>,
    pub(crate) row: usize,
    pub(crate) generation: u32,
    pub(crate) by: &'c Caller<'c>,
}

impl<'m> Registry<'m> {
    /// Takes a row that `from` owned: 0 is nobody.
    pub(crate) fn own_row<'c>(
        &self,
        row: usize,
        from: u32,
        by: &'c Caller<'c>,
    ) -> Option<Claim<'c, 'm>> {
        // Acquire pairs with the store in `let_go`: who had it has let go.
        // relaxed: on failure nothing is read.
        // loom: loom_registry::a_row_that_was_given_back_is_let_go
        let owned =
            self.owner(row)
                .compare_exchange(from, by.incarnation().word(), Acquire, Relaxed);
        owned.ok()?;
        Some(Claim {
            registry: *self,
            row,
            // relaxed: the exchange is before it, and only the owner changes the state.
            generation: self.state(row).load(Relaxed) >> 1,
            by,
        })
    }

    /// Whether a row was removed and still names its segment.
    // relaxed in all of this: in `release` the full fence is before it, in `settled` the
    // exchange; in `reap` and for inspection it is a hint, and `finish` looks as the owner.
    pub(crate) fn is_abandoned(&self, row: usize) -> bool {
        self.state(row).load(Relaxed) & NAMED != 0 && self.link_of(row).is_marked()
    }
}

impl<'m> Claim<'_, 'm> {
    /// Whether the row is still ours, in this use (T5).
    // relaxed in all of this: an old value ends the call one step later, which T5 allows
    // for; a claim that was just linked is looked at after the full fence in `insert`.
    pub(crate) fn check(&self) -> Result<(), Evicted> {
        let ours = self.registry.owner(self.row).load(Relaxed) == self.by.incarnation().word()
            && self.registry.state(self.row).load(Relaxed) >> 1 == self.generation;
        ours.then_some(()).ok_or(Evicted)
    }

    /// Beats now and then, and looks before a bounded step.
    pub(crate) fn step(&self) -> Result<(), Evicted> {
        self.by.step()?;
        self.check()
    }

    /// Changes the row's state from one value to another; evicted if it is not the first.
    pub(crate) fn change_state(&self, from: u32, to: u32) -> Result<(), Evicted> {
        // Release: pairs with the load in `generation_matches`; nothing links to the earlier use of
        // the row, and what the row says now is stored.
        // relaxed: on failure nothing is read.
        // loom: loom_removal::a_row_that_is_used_again_hides_nobody_behind_it
        let changed = self
            .registry
            .state(self.row)
            .compare_exchange(from, to, Release, Relaxed);
        changed.map(drop).map_err(|_| Evicted)
    }

    /// Lets go of the row; false if it was ours no longer.
    pub(crate) fn let_go(&self) -> bool {
        let (owner, ours) = (self.registry.owner(self.row), self.by.incarnation().word());
        // Release pairs with the exchange in `own_row`.
        // loom: loom_registry::a_row_that_was_given_back_is_let_go
        // relaxed: on failure nothing is read.
        owner.compare_exchange(ours, 0, Release, Relaxed).is_ok()
    }

    /// Gives the row back to whom it was taken from.
    pub(crate) fn give_back(&self, from: u32) {
        let (owner, ours) = (self.registry.owner(self.row), self.by.incarnation().word());
        // relaxed: nothing was done but to take marked rows out of a chain.
        let _ = owner.compare_exchange(ours, from, Relaxed, Relaxed);
    }

    /// Makes a row that has nothing a free one of the next generation.
    pub(crate) fn retire(&self) -> Result<(), Evicted> {
        self.check()?;
        let free = self.generation.wrapping_add(1) << 1;
        let unnamed = self.generation << 1;
        // A late creator may just make it name a segment.
        self.change_state(unnamed, free)
            .or_else(|_| self.change_state(unnamed | NAMED, free))?;
        self.let_go();
        Ok(())
    }

    /// Whether the row names a segment; what it says is seen then.
    pub(crate) fn is_named(&self) -> bool {
        // Acquire: pairs with the exchange in `change_state`, whether its owner let go or not.
        // loom: none (in the models the end of an owner is announced by a release)
        self.registry.state(self.row).load(Acquire) & NAMED != 0
    }
}
