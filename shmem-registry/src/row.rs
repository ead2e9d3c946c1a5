//! Ownership of rows.
//!
//! | owner | bit 0 of `state` | row |
//! |-------|------------------|-----|
//! | 0     | 0                | free |
//! | *l*   | 0 or 1           | incarnation *l* creates its segment, or takes the row down |
//! | 0     | 1                | names a segment; *abandoned* if `next` is marked |
//!
//! Any partition may take down an abandoned row.
//!
//! - **T1** Only a row's owner changes the row, except its `next`, and the map's words of the row.
//! - **T2** A row's generation changes before the row is used again.
//! - **T3** A segment is zero when its row is linked.
//! - **T4** A row that is linked and not marked names a segment, with or without an owner: the work
//!   that its owner has left blocks no other partition.
//! - **T5** Before each bounded step (a page of memory, a page of the map, the link) an owner
//!   checks that the row is still its own, in this use. If it was evicted, it stops there. It
//!   changes the tables by exchanges of words that name the row's generation, so a late change has
//!   no effect.
//! - **T6** A row is marked before it is taken down. So if an evicted creator links it meanwhile,
//!   it is taken out of its chain again, and no row is linked after it.
//!
//! | store                    | paired load                     | hands over                      |
//! |--------------------------|---------------------------------|---------------------------------|
//! | `owner` in `clear_owner` | `owner` in `acquire_row`        | a row                           |
//! | mark in `remove`, fence  | fence, mark in `release`        | the duty to take the row down   |
//! | `state` in `retire`      | `state` in `generation_matches` | that the row has left its chain |

use shmem_core::primitive::Ordering::{Acquire, Relaxed, Release};

use crate::claimant::Caller;
use crate::evicted::Evicted;
use crate::memory::{Registry, NAMED};

/// A row that we own, in one use of it.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'c, 'm> {
    pub(crate) registry: &'c Registry<'m>,
    pub(crate) row: usize,
    pub(crate) generation: u32,
    pub(crate) by: &'c Caller<'c>,
}

impl<'m> Registry<'m> {
    /// Takes a row that `from` owned; 0 is no owner. Returns `None` if it has another owner now.
    pub(crate) fn acquire_row<'c>(
        &'c self,
        row: usize,
        from: u32,
        by: &'c Caller<'c>,
    ) -> Option<Claim<'c, 'm>> {
        // Acquire: pairs with the store in `clear_owner`; the last owner has released the row.
        // relaxed: on failure nothing is read.
        // loom: loom_registry::a_released_row_is_no_longer_used
        let owned =
            self.owner(row)
                .compare_exchange(from, by.incarnation().word(), Acquire, Relaxed);
        owned.ok()?;
        Some(Claim {
            registry: self,
            row,
            // relaxed: the exchange is before it, and only the owner changes the state.
            generation: self.state(row).load(Relaxed) >> 1,
            by,
        })
    }

    /// Returns true if a row was removed and still names its segment.
    // relaxed in all of this: in `release` the full fence is before it, in `state_sum` the
    // exchange. In `reap` and for inspection it is a hint, and `finish` checks again as the owner.
    pub(crate) fn is_abandoned(&self, row: usize) -> bool {
        self.state(row).load(Relaxed) & NAMED != 0 && self.link_of(row).is_marked()
    }
}

impl<'m> Claim<'_, 'm> {
    /// Checks that the row is still ours, in this use (T5).
    // relaxed in all of this: after an old value the call ends one step later, which T5 allows. A
    // row that was just linked is checked after the full fence in `insert`.
    pub(crate) fn check(&self) -> Result<(), Evicted> {
        let ours = self.registry.owner(self.row).load(Relaxed) == self.by.incarnation().word()
            && self.registry.state(self.row).load(Relaxed) >> 1 == self.generation;
        ours.then_some(()).ok_or(Evicted)
    }

    /// Called before a bounded step: beats if a beat is due, and checks the row.
    pub(crate) fn step(&self) -> Result<(), Evicted> {
        self.by.step()?;
        self.check()
    }

    /// Changes the row's state from one value to another; returns `Evicted` if it is not the first.
    pub(crate) fn change_state(&self, from: u32, to: u32) -> Result<(), Evicted> {
        // Release: pairs with the load in `generation_matches`; no word links to the earlier use of
        // the row, and the contents of the row are stored.
        // relaxed: on failure nothing is read.
        // loom: loom_removal::a_row_that_is_used_again_hides_no_row_after_it
        let changed = self
            .registry
            .state(self.row)
            .compare_exchange(from, to, Release, Relaxed);
        changed.map(drop).map_err(|_| Evicted)
    }

    /// Clears the owner of the row; returns false if the row was no longer ours.
    pub(crate) fn clear_owner(&self) -> bool {
        let (owner, ours) = (self.registry.owner(self.row), self.by.incarnation().word());
        // Release: pairs with the exchange in `acquire_row`.
        // loom: loom_registry::a_released_row_is_no_longer_used
        // relaxed: on failure nothing is read.
        owner.compare_exchange(ours, 0, Release, Relaxed).is_ok()
    }

    /// Returns the row to the owner that it was taken from.
    pub(crate) fn restore_owner(&self, from: u32) {
        let (owner, ours) = (self.registry.owner(self.row), self.by.incarnation().word());
        // relaxed: we only unlinked marked rows of a chain.
        let _ = owner.compare_exchange(ours, from, Relaxed, Relaxed);
    }

    /// Makes a row that has no blocks a free row of the next generation.
    pub(crate) fn retire(&self) -> Result<(), Evicted> {
        self.check()?;
        let free = self.generation.wrapping_add(1) << 1;
        let unnamed = self.generation << 1;
        // A late creator may have just made it name a segment.
        self.change_state(unnamed, free)
            .or_else(|_| self.change_state(unnamed | NAMED, free))?;
        self.clear_owner();
        Ok(())
    }

    /// Returns true if the row names a segment; then the contents of the row are visible.
    pub(crate) fn is_named(&self) -> bool {
        // Acquire: pairs with the exchange in `change_state`, in case its owner has not released
        // the row.
        // loom: none (in the models the end of an owner is announced by a release)
        self.registry.state(self.row).load(Acquire) & NAMED != 0
    }
}
