//! Removes segments, and reaps what dead partitions left.
//!
//! One compare-and-swap marks the row's `next`: from then on the segment does not exist for any
//! partition. The row is taken down by its owner, or by the remover if it has none. If that
//! partition dies, `reap` takes it down. `reap` takes nothing from a partition that is only silent.
//!
//! | store                     | paired load                             | hands over             |
//! |---------------------------|-----------------------------------------|------------------------|
//! | fence in `claim_row`, row | `next`, fence in `remove`, `is_current` | that the row is reused |

use memoffset::offset_of;

use shmem_core::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use shmem_core::{Incarnation, Liveness};

use crate::claimant::{Caller, Claimant};
use crate::error::{RemoveError, WalkError};
use crate::layout::Row;
use crate::memory::{Registry, NAMED};
use crate::row::Claim;
use crate::segment::Segment;

impl<'m> Registry<'m> {
    /// Removes a segment. Its identifier is free at once. Its blocks are free when its row is taken
    /// down: by this call, or by a partition that still works on the row, or else by
    /// [`Registry::reap`]. No partition may use the segment's window any more, because its bytes
    /// may become part of another segment.
    ///
    /// Needs compare-and-swap on this memory.
    ///
    /// # Errors
    ///
    /// [`RemoveError::Stale`] if it was removed before, even if its identifier names another
    /// segment now. [`RemoveError::Foreign`] if it belongs to another registry.
    /// [`RemoveError::Reformatted`] if the region was formatted again since the handle was made.
    /// [`RemoveError::NoReadModifyWrite`] if the handle may not change the table.
    /// [`RemoveError::Contended`] or [`RemoveError::Corrupt`]. [`RemoveError::Evicted`] if a later
    /// incarnation of the caller's partition has attached, or another partition reaped the caller's
    /// row. If that happened before the call, nothing was changed. If it happened during the call,
    /// the segment is removed.
    pub fn remove(&self, caller: impl Claimant, segment: &Segment<'m>) -> Result<(), RemoveError> {
        self.check_may_change()?;
        let by = &Caller::begin(&caller)?;
        if !self.contains(segment) {
            return Err(RemoveError::Foreign);
        }
        let row = segment.row;
        let next = self.row(row, offset_of!(Row, next));
        // A row may be linked after it meanwhile, at most once for each row. Without this limit a
        // hostile partition could change the word endlessly.
        for _ in 0..=self.layout.geometry.segments {
            let link = self.link_of(row);
            // Pairs with the fence in `claim_row`: a link of a later use of the row is not mistaken
            // for a link of this use.
            // loom: loom_removal::a_late_remover_does_not_remove_the_next_segment_of_the_row
            fence(Acquire);
            let named = segment.generation << 1 | NAMED;
            // relaxed: the fence is before it.
            if self.state(row).load(Relaxed) != named || link.is_marked() {
                return Err(RemoveError::Stale);
            }
            // Release: pairs with the acquire fences of the partition that takes the row down. We
            // have finished with the segment before its blocks belong to another.
            // loom: none (loom orders by full fences more than C11, and there is one on each side)
            // relaxed: on failure nothing is read.
            let marked = next.compare_exchange(link.0, link.marked().0, Release, Relaxed);
            if marked.is_err() {
                continue;
            }
            // Pairs with the fence in `release`: either we find the row without an owner, or its
            // owner finds the mark.
            // loom: loom_removal::a_segment_removed_while_its_creator_releases_it_is_taken_down
            fence(SeqCst);
            let finished = self.acquire_row(row, 0, by).map(|claim| finish(claim, 0));
            // Any other error means that the chain is contended or corrupt. The segment is removed
            // anyway, and `reap` takes the row down.
            return match finished {
                Some(Err(WalkError::Evicted)) => Err(RemoveError::Evicted),
                _ => Ok(()),
            };
        }
        Err(RemoveError::Contended)
    }

    /// Frees the rows and blocks that dead partitions left half-created or half-removed. Returns
    /// the number of rows freed. It frees space; no other call depends on it.
    ///
    /// Needs compare-and-swap on this memory.
    ///
    /// # Errors
    ///
    /// [`RemoveError::Contended`] or [`RemoveError::Corrupt`]: some rows could not be freed and are
    /// left for the next call. [`RemoveError::Evicted`] if a later incarnation of the caller's
    /// partition has attached, or another partition reaped the caller's row.
    /// [`RemoveError::NoReadModifyWrite`] and [`RemoveError::Reformatted`] as in
    /// [`Registry::remove`].
    pub fn reap<L: Liveness>(
        &self,
        caller: impl Claimant,
        liveness: &mut L,
    ) -> Result<usize, RemoveError> {
        self.check_may_change()?;
        let by = &Caller::begin(&caller)?;
        let mut count = 0;
        let mut outcome = Ok(());
        for row in 0..self.layout.geometry.segments {
            // relaxed: the fence in `Partition::read` is after it, and the exchange decides.
            let owner = self.owner(row).load(Relaxed);
            let is_left = match (owner, Incarnation::from_word(owner)) {
                (0, _) => self.is_abandoned(row),
                (_, Some(incarnation)) if incarnation.word() == owner => {
                    liveness.is_gone(incarnation)
                }
                _ => true, // Not the word of an incarnation, so no partition owns the row.
            };
            let claim = is_left.then(|| self.acquire_row(row, owner, by)).flatten();
            let Some(claim) = claim else {
                continue;
            };
            // Pairs with the fence in `insert`, in case the owner is in fact alive.
            // loom: loom_removal::an_evicted_creator_gets_an_error_or_its_segment_stays
            fence(SeqCst);
            match finish(claim, owner) {
                Ok(()) => count += 1,
                Err(WalkError::Evicted) => return Err(RemoveError::Evicted),
                Err(error) => outcome = Err(error),
            }
        }
        outcome.map(|()| count).map_err(RemoveError::from)
    }

    /// Returns the rows that have an owner, and those that were removed and not yet taken down: for
    /// inspection.
    pub fn unfinished(&self) -> impl Iterator<Item = Unfinished> + 'm {
        let registry = *self;
        (0..self.layout.geometry.segments).filter_map(move |row| {
            // relaxed: for inspection; it may have changed when it is returned.
            let owner = registry.owner(row).load(Relaxed);
            (owner != 0 || registry.is_abandoned(row)).then_some(Unfinished { row, owner })
        })
    }
}

/// Finishes what the earlier owner `from` of a row had begun, for us as its owner. If the chain
/// cannot be walked, returns the row to `from`.
fn finish(claim: Claim<'_, '_>, from: u32) -> Result<(), WalkError> {
    let linked = claim.is_named().then(|| claim.is_linked()).transpose();
    match linked {
        Ok(Some(true)) => claim.release(),
        Ok(_) => claim.take_down()?,
        Err(WalkError::Evicted) => return Err(WalkError::Evicted),
        Err(error) => {
            claim.restore_owner(from);
            return Err(error);
        }
    }
    Ok(())
}

/// A row that a partition works on, or worked on until it died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The number of the row.
    pub row: usize,
    /// The owner's incarnation as a word; 0 if the partition that removed the segment has died.
    pub owner: u32,
}
