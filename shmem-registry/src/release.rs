//! Releases a row, and takes it down if its segment was removed.

use memoffset::offset_of;

use shmem_core::primitive::{
    fence,
    Ordering::{Relaxed, SeqCst},
};

use crate::alloc::Run;
use crate::chain::Position;
use crate::error::WalkError;
use crate::evicted::Evicted;
use crate::layout::Row;
use crate::link::Link;
use crate::row::Claim;

impl Claim<'_, '_> {
    /// Releases the row, and takes it down if its segment was removed meanwhile.
    pub(crate) fn release(self) {
        if !self.clear_owner() {
            return; // Evicted.
        }
        // Pairs with the fence in `remove`: either the remover finds the row without an owner, or
        // we find its mark.
        // loom: loom_removal::a_segment_removed_while_its_creator_releases_it_is_taken_down
        fence(SeqCst);
        let registry = self.registry;
        if !registry.is_abandoned(self.row) {
            return;
        }
        if let Some(claim) = registry.acquire_row(self.row, 0, self.by) {
            // An error means that the chain is contended or corrupt: the row stays abandoned, and
            // `reap` finds it.
            match registry.is_abandoned(self.row) {
                true => drop(claim.take_down()),
                false => drop(claim.clear_owner()),
            }
        }
    }

    /// Takes down a row that is not in the table, or no longer: takes it out of its chain, frees
    /// its blocks, and moves its generation. It then has no owner.
    ///
    /// # Errors
    ///
    /// If the chain is contended or corrupt, the row is abandoned. If we were evicted, the
    /// partition that takes the row from us continues.
    pub(crate) fn take_down(&self) -> Result<(), WalkError> {
        let registry = &self.registry;
        self.mark_removed()?;
        let run = if self.is_named() {
            // relaxed: after the Acquire in `is_named`.
            let load = |field| registry.row(self.row, field).load(Relaxed);
            let run = Run {
                first: load(offset_of!(Row, first_block)) as usize,
                count: (load(offset_of!(Row, length)) as usize)
                    .div_ceil(registry.layout.geometry.block_size),
            };
            // Unlinks the marked rows up to the end of the chain, this row among them.
            if let Err(error) = registry.locate(registry.id_in(self.row)) {
                self.clear_owner();
                return Err(error);
            }
            run
        } else {
            // Its owner died while it claimed blocks: they may lie anywhere.
            Run {
                first: 0,
                count: registry.layout.blocks,
            }
        };
        registry.blocks().free(self, run)?;
        self.retire()?;
        Ok(())
    }

    /// Marks the row (T6). A late creator that has not stored `next` yet finds that the word has
    /// changed.
    fn mark_removed(&self) -> Result<(), Evicted> {
        let next = self.registry.row(self.row, offset_of!(Row, next));
        // Bounded: a late creator changes the word once, and so does each row that is linked after
        // this one.
        for _ in 0..=self.registry.layout.geometry.segments {
            // relaxed: an exchange of the value that was found decides.
            let link = Link(next.load(Relaxed));
            // After the load: the value belongs to this use of the row.
            self.check()?;
            let marked = match self.is_named() {
                true => link.marked(),
                false => Link::end(self.generation).marked(),
            };
            // relaxed: a partition that walks on has the orderings of the links after this one.
            if next
                .compare_exchange(link.0, marked.0, Relaxed, Relaxed)
                .is_ok()
            {
                break;
            }
        }
        Ok(())
    }

    /// Returns true if the row is linked in its chain.
    pub(crate) fn is_linked(&self) -> Result<bool, WalkError> {
        let place = self.registry.locate(self.registry.id_in(self.row))?;
        Ok(matches!(place, Position::Found(node) if node.row == self.row))
    }
}
