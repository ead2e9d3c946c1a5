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
//!
//! | store                    | paired load                 | hands over       |
//! |--------------------------|-----------------------------|------------------|
//! | `owner` in `let_go`      | `owner` in `own_row`        | a row            |
//! | mark in `remove`, fence  | fence, mark in `release_row` | that it is to be taken down |

use memoffset::offset_of;

use shmem_core::mem::Word;
use shmem_core::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use shmem_core::Life;

use crate::alloc::Run;
use crate::chain::{Link, Lost, Place};
use crate::error::OpenError;
use crate::layout::{RegistryHeader, Row, REGISTRY};
use crate::table::Registry;

/// Bit 0 of a row's state: it names a segment.
pub(crate) const NAMED: u32 = 1;

impl<'m> Registry<'m> {
    #[inline]
    pub(crate) fn state(&self, row: usize) -> Word<'m> {
        self.row(row, offset_of!(Row, state))
    }

    pub(crate) fn owner(&self, row: usize) -> Word<'m> {
        self.row(row, offset_of!(Row, owner))
    }

    pub(crate) fn link_of(&self, row: usize) -> Link {
        Link(self.row(row, offset_of!(Row, next)).load(Relaxed))
    }

    /// Makes `life` the owner of a row that `from` owned: 0 is nobody.
    pub(crate) fn own_row(&self, row: usize, from: u32, life: Life) -> bool {
        // Acquire pairs with the store in `release_row`: who had it has let go.
        let owned = self
            .owner(row)
            .compare_exchange(from, life.word(), Acquire, Relaxed); // loom: loom_registry::a_row_that_was_given_back_is_let_go
        owned.is_ok()
    }

    /// Claims a free row and returns its number and generation.
    pub(crate) fn claim_row(&self, life: Life) -> Result<(usize, u32), OpenError> {
        let segments = self.places.geometry.segments;
        let hint = self
            .memory
            .word(REGISTRY + offset_of!(RegistryHeader, row_hint));
        // Behind the row that was taken last, so that a row rests before it is
        // used again (C3). Any value is harmless.
        let start = hint.load(Relaxed) as usize;
        for step in 0..segments {
            let row = start.wrapping_add(step) & (segments - 1);
            let free = self.state(row).load(Relaxed) & NAMED == 0;
            if !free || self.owner(row).load(Relaxed) != 0 || !self.own_row(row, 0, life) {
                continue;
            }
            let state = self.state(row).load(Relaxed);
            if state & NAMED != 0 {
                self.release_row(row, life);
                continue;
            }
            hint.store(row as u32 + 1, Relaxed);
            // Pairs with the fences in `is_of` and `allocate`: what is stored into the
            // row from here on is not seen without its generation (T2), nor are
            // blocks claimed for it without its owner.
            fence(Release); // loom: loom_removal::a_reader_never_takes_the_rows_next_segment_for_its_own
            return Ok((row, state >> 1));
        }
        Err(OpenError::TableFull { segments })
    }

    /// Lets go of a row, and takes it down if it was removed meanwhile.
    pub(crate) fn release_row(&self, row: usize, life: Life) {
        self.let_go(row, life);
        // Pairs with the fence in `remove`: either the remover finds the row
        // without an owner, or we find its mark.
        fence(SeqCst); // loom: loom_removal::a_segment_that_is_removed_while_its_creator_lets_go_is_taken_down
        if self.is_abandoned(row) && self.own_row(row, 0, life) {
            // In vain only if the chain is contended or corrupt: then it stays
            // abandoned, and `reap` finds it.
            if !self.is_abandoned(row) || self.take_down(row, life).is_err() {
                self.let_go(row, life);
            }
        }
    }

    fn let_go(&self, row: usize, life: Life) {
        // Release pairs with the exchange in `own_row`. It fails where we were
        // taken for dead: then the row is another's.
        let _ = self
            .owner(row)
            .compare_exchange(life.word(), 0, Release, Relaxed); // loom: loom_registry::a_row_that_was_given_back_is_let_go
    }

    /// Whether a row was removed and still names its segment.
    pub(crate) fn is_abandoned(&self, row: usize) -> bool {
        self.state(row).load(Relaxed) & NAMED != 0 && self.link_of(row).is_marked()
    }

    /// Takes down a row that we own and that is not, or no longer, in the table:
    /// out of its chain, its blocks free, its generation moved. Ends our ownership.
    ///
    /// # Errors
    ///
    /// The chain is contended or corrupt: nothing was done, the row is still ours.
    pub(crate) fn take_down(&self, row: usize, life: Life) -> Result<(), Lost> {
        let load = |field| self.row(row, field).load(Relaxed);
        let high = load(offset_of!(Row, id_high));
        let id = u64::from(high) << 32 | u64::from(load(offset_of!(Row, id_low)));
        // Past every row that can lie before the end of its chain.
        self.locate(id)?;
        if self.state(row).load(Relaxed) & NAMED == 0 {
            // Its owner died while it claimed blocks: they may lie anywhere.
            self.blocks().reclaim(row);
        } else {
            let length = load(offset_of!(Row, length)) as usize;
            let run = Run {
                first: load(offset_of!(Row, first_block)) as usize,
                count: length.div_ceil(self.places.geometry.block),
            };
            self.blocks().free(row, run);
        }
        self.retire(row, life);
        Ok(())
    }

    /// Makes a row that we own, and that has nothing, a free one of the next generation.
    pub(crate) fn retire(&self, row: usize, life: Life) {
        if self.owner(row).load(Relaxed) != life.word() {
            return; // We were taken for dead.
        }
        let generation = (self.state(row).load(Relaxed) >> 1).wrapping_add(1);
        // Relaxed: letting go of the row hands it over.
        self.state(row).store(generation << 1, Relaxed);
        self.let_go(row, life);
    }

    /// Whether a row that we own is linked.
    pub(crate) fn is_linked(&self, row: usize) -> Result<bool, Lost> {
        let load = |field| self.row(row, field).load(Relaxed);
        let high = load(offset_of!(Row, id_high));
        let id = u64::from(high) << 32 | u64::from(load(offset_of!(Row, id_low)));
        let place = self.locate(id)?;
        Ok(matches!(place, Place::Found(node) if node.row == row))
    }
}
