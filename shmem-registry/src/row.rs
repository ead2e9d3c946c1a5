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
use crate::claimant::Claimant;
use crate::error::OpenError;
use crate::layout::{RegistryHeader, Row, REGISTRY};
use crate::partition::Evicted;
use crate::table::Registry;

/// Bit 0 of a row's state: it names a segment.
pub(crate) const NAMED: u32 = 1;

/// Bounded steps between two beats of a call: some 64 KiB of memory.
const STEPS_A_BEAT: u32 = 16;

/// A row that is ours, in one use of it.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'c, 'm> {
    registry: Registry<'m>,
    pub(crate) row: usize,
    pub(crate) generation: u32,
    by: &'c dyn Claimant,
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
        by: &'c dyn Claimant,
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
    pub(crate) fn claim_row<'c>(&self, by: &'c dyn Claimant) -> Result<Claim<'c, 'm>, OpenError> {
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
    pub(crate) fn step(&self, steps: &mut u32) -> Result<(), Evicted> {
        *steps = steps.wrapping_add(1);
        if *steps % STEPS_A_BEAT == 0 {
            self.by.beat()?;
        }
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
        self.let_go();
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
            if !registry.is_abandoned(self.row) || claim.take_down().is_err() {
                claim.let_go();
            }
        }
    }

    fn let_go(&self) {
        let (owner, ours) = (self.registry.owner(self.row), self.by.life().word());
        // Release pairs with the exchange in `own_row`. It fails where we were
        // evicted: then the row is another's.
        // relaxed: on failure nothing is read.
        let _ = owner.compare_exchange(ours, 0, Release, Relaxed); // loom: loom_registry::a_row_that_was_given_back_is_let_go
    }

    /// Gives the row back to whom it was taken from.
    pub(crate) fn give_back(&self, from: u32) {
        let (owner, ours) = (self.registry.owner(self.row), self.by.life().word());
        // relaxed: links and blocks that were changed have orderings of their own.
        let _ = owner.compare_exchange(ours, from, Relaxed, Relaxed);
    }

    /// Takes down a row that is not, or no longer, in the table: out of its chain, its
    /// blocks free, its generation moved. Ends our ownership.
    ///
    /// # Errors
    ///
    /// The chain is contended or corrupt, and the row still ours; or we were evicted.
    /// The row is not another's for anything that was done.
    pub(crate) fn take_down(&self) -> Result<(), Lost> {
        let registry = &self.registry;
        // relaxed: the exchange in `own_row` is before it, if the last owner let go; what
        // one that is gone stored arrived long ago, and blocks that a late one hides from
        // us become strays (A3).
        let load = |field| registry.row(self.row, field).load(Relaxed);
        // Past every row that can lie before the end of its chain.
        registry.locate(registry.id_in(self.row))?;
        let whole_map = Run {
            first: 0,
            count: registry.places.blocks,
        };
        let run = match self.is_named() {
            // Its owner ended while it claimed blocks: they may lie anywhere.
            false => whole_map,
            true => Run {
                first: load(offset_of!(Row, first_block)) as usize,
                count: (load(offset_of!(Row, length)) as usize)
                    .div_ceil(registry.places.geometry.block),
            },
        };
        registry.blocks().free(self, run)?;
        self.retire()?;
        Ok(())
    }

    /// Makes a row that has nothing a free one of the next generation.
    pub(crate) fn retire(&self) -> Result<(), Evicted> {
        self.check()?;
        // relaxed: TODO-ORDER
        let state = self.registry.state(self.row).load(Relaxed);
        self.change_state(state, self.generation.wrapping_add(1) << 1)?;
        self.let_go();
        Ok(())
    }

    /// Whether the row names a segment.
    // relaxed in all of this: the exchange in `own_row` is before it, if the last owner let
    // go; what one that is gone stored arrived long ago.
    pub(crate) fn is_named(&self) -> bool {
        self.registry.state(self.row).load(Relaxed) & NAMED != 0
    }

    /// Whether the row is linked.
    pub(crate) fn is_linked(&self) -> Result<bool, Lost> {
        let place = self.registry.locate(self.registry.id_in(self.row))?;
        Ok(matches!(place, Place::Found(node) if node.row == self.row))
    }
}
