//! Who works on a row.
//!
//! | owner | bit 0 of `state` | row                                              |
//! |-------|------------------|--------------------------------------------------|
//! | 0     | 0                | free                                             |
//! | life  | 0 or 1           | that life creates its segment, or takes it down  |
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
//! | `state` in `retire`      | `state` in `is_of`          | that nothing links to the earlier use |

use memoffset::offset_of;

use shmem_core::mem::Word;
use shmem_core::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

use crate::alloc::Run;
use crate::chain::{Link, Lost, Place};
use crate::claimant::Caller;
use crate::error::OpenError;
use crate::layout::{RegistryHeader, Row, REGISTRY};
use crate::partition::Evicted;
use crate::table::Registry;

/// Bit 0 of a row's state: it names a segment.
pub(crate) const NAMED: u32 = 1;

/// A row that is ours, in one use of it.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'c, 'm> {
    registry: Registry<'m>,
    pub(crate) row: usize,
    pub(crate) generation: u32,
    by: &'c Caller<'c>,
}

impl<'m> Registry<'m> {
    #[inline]
    pub(crate) fn state(&self, row: usize) -> Word<'m> {
        self.row(row, offset_of!(Row, state))
    }

    pub(crate) fn owner(&self, row: usize) -> Word<'m> {
        self.row(row, offset_of!(Row, owner))
    }

    // relaxed in all of this: the caller loads the row's state after an acquire fence
    // (`is_of`, `remove`, `is_current`), or it is `is_abandoned`.
    pub(crate) fn link_of(&self, row: usize) -> Link {
        Link(self.row(row, offset_of!(Row, next)).load(Relaxed))
    }

    /// Takes a row that `from` owned: 0 is nobody.
    pub(crate) fn own_row<'c>(
        &self,
        row: usize,
        from: u32,
        by: &'c Caller<'c>,
    ) -> Option<Claim<'c, 'm>> {
        // Acquire pairs with the store in `let_go`: who had it has let go.
        // relaxed: on failure nothing is read.
        let owned = self
            .owner(row)
            .compare_exchange(from, by.life().word(), Acquire, Relaxed); // loom: loom_registry::a_row_that_was_given_back_is_let_go
        owned.ok()?;
        Some(Claim {
            registry: *self,
            row,
            // relaxed: the exchange is before it, and only the owner changes the state.
            generation: self.state(row).load(Relaxed) >> 1,
            by,
        })
    }

    /// Claims a free row.
    pub(crate) fn claim_row<'c>(&self, by: &'c Caller<'c>) -> Result<Claim<'c, 'm>, OpenError> {
        let segments = self.places.geometry.segments;
        let hint = self
            .memory()
            .word(REGISTRY + offset_of!(RegistryHeader, row_hint));
        // Behind the row that was taken last, so that a row rests before it is
        // used again (C3).
        // relaxed: any value is harmless.
        let start = hint.load(Relaxed) as usize;
        for step in 0..segments {
            let row = start.wrapping_add(step) & (segments - 1);
            // relaxed: a hint; the state is loaded again when the row is ours.
            let free = self.state(row).load(Relaxed) & NAMED == 0;
            // relaxed: a hint; the exchange in `own_row` decides.
            if !free || self.owner(row).load(Relaxed) != 0 {
                continue;
            }
            let Some(claim) = self.own_row(row, 0, by) else {
                continue;
            };
            // relaxed: the exchange in `own_row` is before it.
            if self.state(row).load(Relaxed) & NAMED != 0 {
                claim.release();
                continue;
            }
            // relaxed: any value is harmless.
            hint.store(row as u32 + 1, Relaxed);
            // Pairs with the fences in `is_of`, `remove` and `allocate`: what is stored into
            // the row from here on is not seen without its generation (T2), nor are
            // blocks claimed for it without its owner and its generation.
            fence(Release); // loom: loom_removal::a_reader_never_takes_the_rows_next_segment_for_its_own
            return Ok(claim);
        }
        Err(OpenError::TableFull { segments })
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
        let ours = self.registry.owner(self.row).load(Relaxed) == self.by.life().word()
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
        // Release: pairs with the load in `is_of`; nothing links to the earlier use of
        // the row, and what the row says now is stored.
        // relaxed: on failure nothing is read.
        let changed = self
            .registry
            .state(self.row)
            .compare_exchange(from, to, Release, Relaxed); // loom: loom_removal::a_row_that_is_used_again_hides_nobody_behind_it
        changed.map(drop).map_err(|_| Evicted)
    }

    /// Lets go of the row, and takes it down if it was removed meanwhile.
    pub(crate) fn release(self) {
        if !self.let_go() {
            return; // Evicted.
        }
        // Pairs with the fence in `remove`: either the remover finds the row
        // without an owner, or we find its mark.
        fence(SeqCst); // loom: loom_removal::a_segment_that_is_removed_while_its_creator_lets_go_is_taken_down
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

    /// Lets go of the row; false if it was ours no longer.
    fn let_go(&self) -> bool {
        let (owner, ours) = (self.registry.owner(self.row), self.by.life().word());
        // Release pairs with the exchange in `own_row`.
        // loom: loom_registry::a_row_that_was_given_back_is_let_go
        // relaxed: on failure nothing is read.
        owner.compare_exchange(ours, 0, Release, Relaxed).is_ok()
    }

    /// Gives the row back to whom it was taken from.
    pub(crate) fn give_back(&self, from: u32) {
        let (owner, ours) = (self.registry.owner(self.row), self.by.life().word());
        // relaxed: nothing was done but to take marked rows out of a chain.
        let _ = owner.compare_exchange(ours, from, Relaxed, Relaxed);
    }

    /// Takes down a row that is not, or no longer, in the table: out of its chain, its
    /// blocks free, its generation moved. Ends our ownership.
    ///
    /// # Errors
    ///
    /// The chain is contended or corrupt: the row is abandoned. Or we were evicted: what is
    /// left to do is for who takes the row from us.
    pub(crate) fn take_down(&self) -> Result<(), Lost> {
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

    /// Whether the row is linked.
    pub(crate) fn is_linked(&self) -> Result<bool, Lost> {
        let place = self.registry.locate(self.registry.id_in(self.row))?;
        Ok(matches!(place, Place::Found(node) if node.row == self.row))
    }
}
