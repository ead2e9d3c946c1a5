//! How a segment goes, and how what dead partitions left is taken back.
//!
//! One compare-and-swap marks the row's `next`, and with that the segment is gone
//! for everybody. Who owns the row, or can own it then, takes it down; if that one
//! dies, `reap` does.

use memoffset::offset_of;

use shmem_core::primitive::{
    fence,
    Ordering::{Relaxed, SeqCst},
};
use shmem_core::Life;
use shmem_core::Liveness;

use crate::chain::Lost;
use crate::error::RemoveError;
use crate::layout::Row;
use crate::row::NAMED;
use crate::segment::Segment;
use crate::table::Registry;

impl<'m> Registry<'m> {
    /// Removes a segment: its identifier is free at once, its blocks as soon as
    /// the row is taken down. Whoever still uses its window must have let go, since
    /// the bytes may become another segment's.
    ///
    /// Needs compare-and-swap on this memory.
    ///
    /// # Errors
    ///
    /// [`RemoveError::Stale`] if it was removed before, even if its identifier
    /// names another segment by now; [`RemoveError::NoReadModifyWrite`] if this handle is
    /// not to remove any; [`RemoveError::Corrupt`].
    pub fn remove(&self, life: Life, segment: &Segment<'m>) -> Result<(), RemoveError> {
        self.check_may_change()?;
        let row = segment.row;
        let next = self.row(row, offset_of!(Row, next));
        // A successor may be linked meanwhile, once for each row; a hostile
        // partition could change it for ever.
        for _ in 0..=self.places.geometry.segments {
            let link = self.link_of(row);
            let named = segment.generation << 1 | NAMED;
            if self.state(row).load(Relaxed) != named || link.is_marked() {
                return Err(RemoveError::Stale);
            }
            // Relaxed: whoever follows the link reads on in the release sequence of
            // the exchange that put it there.
            let marked = next.compare_exchange(link.0, link.marked().0, Relaxed, Relaxed);
            if marked.is_err() {
                continue;
            }
            // Pairs with the fence in `release_row`: either we find the row without
            // an owner, or its owner finds the mark.
            fence(SeqCst); // loom: loom_removal::a_segment_that_is_removed_while_its_creator_lets_go_is_taken_down
            if self.own_row(row, 0, life) {
                // In vain only if the chain is contended or corrupt; the segment
                // is gone all the same, and `reap` finds the rest.
                let _ = self.finish(row, 0, life);
            }
            return Ok(());
        }
        Err(RemoveError::Contended)
    }

    /// Takes back what partitions that died left half-made or half-removed, and
    /// returns how many rows that were. Nobody needs to wait for it: it gives back space.
    ///
    /// Needs compare-and-swap on this memory.
    ///
    /// # Errors
    ///
    /// [`RemoveError::Contended`] or [`RemoveError::Corrupt`]; rows that could
    /// not be dealt with are left for the next time. [`RemoveError::NoReadModifyWrite`] as
    /// in [`Registry::remove`].
    pub fn reap<L: Liveness>(&self, life: Life, liveness: &mut L) -> Result<usize, RemoveError> {
        self.check_may_change()?;
        let mut count = 0;
        let mut outcome = Ok(());
        for row in 0..self.places.geometry.segments {
            let owner = self.owner(row).load(Relaxed);
            let left = match (owner, Life::from_word(owner)) {
                (0, _) => self.is_abandoned(row),
                (_, Some(owner)) => liveness.is_gone(owner),
                (_, None) => true, // No life's, hence nobody's.
            };
            if left && self.own_row(row, owner, life) {
                match self.finish(row, owner, life) {
                    Ok(()) => count += 1,
                    Err(lost) => outcome = Err(lost),
                }
            }
        }
        outcome.map(|()| count).map_err(RemoveError::from)
    }

    fn check_may_change(&self) -> Result<(), RemoveError> {
        match self.may_change {
            true => Ok(()),
            false => Err(RemoveError::NoReadModifyWrite),
        }
    }

    /// Finishes what an earlier owner of a row, which is ours now, had begun; if
    /// that cannot be, the row is `from`'s again.
    fn finish(&self, row: usize, from: u32, life: Life) -> Result<(), Lost> {
        let done = self.try_to_finish(row, life);
        if done.is_err() {
            // Relaxed: nothing was done.
            let _ = self
                .owner(row)
                .compare_exchange(life.word(), from, Relaxed, Relaxed);
        }
        done
    }

    fn try_to_finish(&self, row: usize, life: Life) -> Result<(), Lost> {
        if self.state(row).load(Relaxed) & NAMED == 0 || !self.is_linked(row)? {
            return self.take_down(row, life);
        }
        self.release_row(row, life);
        Ok(())
    }

    /// Rows that somebody works on or that nobody has taken down yet, for inspection.
    pub fn unfinished(&self) -> impl Iterator<Item = Unfinished> + 'm {
        let registry = *self;
        (0..self.places.geometry.segments).filter_map(move |row| {
            let owner = registry.owner(row).load(Relaxed);
            (owner != 0 || registry.is_abandoned(row)).then_some(Unfinished { row, owner })
        })
    }
}

/// A row that somebody works on, or did until it died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Its number.
    pub row: usize,
    /// The life's word; 0 if the segment was removed and its remover died.
    pub owner: u32,
}
