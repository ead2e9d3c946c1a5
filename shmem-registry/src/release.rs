//! How an owner lets go of a row, and takes it down if its segment was removed.

use memoffset::offset_of;

use shmem_core::primitive::{
    fence,
    Ordering::{Relaxed, SeqCst},
};

use crate::alloc::Run;
use crate::chain::Place;
use crate::error::WalkError;
use crate::evicted::Evicted;
use crate::layout::Row;
use crate::link::Link;
use crate::row::Claim;

impl Claim<'_, '_> {
    /// Lets go of the row, and takes it down if it was removed meanwhile.
    pub(crate) fn release(self) {
        if !self.let_go() {
            return; // Evicted.
        }
        // Pairs with the fence in `remove`: either the remover finds the row
        // without an owner, or we find its mark.
        // loom: loom_removal::a_segment_that_is_removed_while_its_creator_lets_go_is_taken_down
        fence(SeqCst);
        let registry = self.registry;
        if !registry.is_abandoned(self.row) {
            return;
        }
        if let Some(claim) = registry.own_row(self.row, 0, self.by) {
            // In vain only if the chain is contended or corrupt: then it stays
            // abandoned, and `reap` finds it.
            match registry.is_abandoned(self.row) {
                true => drop(claim.take_down()),
                false => drop(claim.let_go()),
            }
        }
    }

    /// Takes down a row that is not, or no longer, in the table: out of its chain, its
    /// blocks free, its generation moved. Ends our ownership.
    ///
    /// # Errors
    ///
    /// The chain is contended or corrupt: the row is abandoned. Or we were evicted: what is
    /// left to do is for who takes the row from us.
    pub(crate) fn take_down(&self) -> Result<(), WalkError> {
        let registry = &self.registry;
        self.close()?;
        let run = if self.is_named() {
            // relaxed: after the Acquire in `is_named`.
            let load = |field| registry.row(self.row, field).load(Relaxed);
            let run = Run {
                first: load(offset_of!(Row, first_block)) as usize,
                count: (load(offset_of!(Row, length)) as usize)
                    .div_ceil(registry.places.geometry.block),
            };
            // Past every row that can lie before the end of its chain.
            if let Err(lost) = registry.locate(registry.id_in(self.row)) {
                self.let_go();
                return Err(lost);
            }
            run
        } else {
            // Its owner ended while it claimed blocks: they may lie anywhere.
            Run {
                first: 0,
                count: registry.places.blocks,
            }
        };
        registry.blocks().free(self, run)?;
        self.retire()?;
        Ok(())
    }

    /// Marks the row (T6). A creator that has not stored `next` yet, and is late, finds
    /// that it is not what it was.
    fn close(&self) -> Result<(), Evicted> {
        let next = self.registry.row(self.row, offset_of!(Row, next));
        // Bounded: it changes by a late creator once, and by each row that is linked behind.
        for _ in 0..=self.registry.places.geometry.segments {
            // relaxed: an exchange of the value that was found decides.
            let link = Link(next.load(Relaxed));
            // After the load: what was found is of this use of the row.
            self.check()?;
            let closed = match self.is_named() {
                true => link.marked(),
                false => Link::end(self.generation).marked(),
            };
            // relaxed: whoever reads on behind it has the orderings of the links there.
            if next
                .compare_exchange(link.0, closed.0, Relaxed, Relaxed)
                .is_ok()
            {
                break;
            }
        }
        Ok(())
    }

    /// Whether the row is linked.
    pub(crate) fn is_linked(&self) -> Result<bool, WalkError> {
        let place = self.registry.locate(self.registry.id_in(self.row))?;
        Ok(matches!(place, Place::Found(node) if node.row == self.row))
    }
}
