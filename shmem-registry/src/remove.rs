//! How a segment goes, and how what dead partitions left is taken back.
//!
//! One compare-and-swap marks the row's `next`, and with that the segment is gone
//! for everybody. Who owns the row, or can own it then, takes it down; if that one
//! dies, `reap` does. What a partition holds that is only silent stays its own.
//!
//! | store               | paired load                    | hands over            |
//! |---------------------|--------------------------------|-----------------------|
//! | fence in `claim_row`, row | `next`, fence in `remove`, `is_current` | that the row is used again |

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
    /// Removes a segment: its identifier is free at once, its blocks as soon as
    /// the row is taken down. Whoever still uses its window must have let go, since
    /// the bytes may become another segment's.
    ///
    /// Needs compare-and-swap on this memory.
    ///
    /// # Errors
    ///
    /// [`RemoveError::Stale`] if it was removed before, even if its identifier
    /// names another segment by now; [`RemoveError::Foreign`] if it is not of this
    /// registry; [`RemoveError::Reformatted`] if this handle is not the region's any
    /// more; [`RemoveError::NoReadModifyWrite`] if it is not to remove any;
    /// [`RemoveError::Corrupt`]. [`RemoveError::Evicted`] if the caller was said to be
    /// gone. If that was before the call, nothing was done; if meanwhile, the segment is removed
    /// all the same.
    pub fn remove(&self, by: impl Claimant, segment: &Segment<'m>) -> Result<(), RemoveError> {
        self.check_may_change()?;
        let by = &Caller::begin(&by)?;
        if !self.has(segment) {
            return Err(RemoveError::Foreign);
        }
        let row = segment.row;
        let next = self.row(row, offset_of!(Row, next));
        // A successor may be linked meanwhile, once for each row; a hostile
        // partition could change it for ever.
        for _ in 0..=self.places.geometry.segments {
            let link = self.link_of(row);
            // Pairs with the fence in `claim_row`: a link of a later use of the row is
            // not taken for this one's.
            // loom: loom_removal::a_late_remover_leaves_the_rows_next_segment_alone
            fence(Acquire);
            let named = segment.generation << 1 | NAMED;
            // relaxed: the fence is before it.
            if self.state(row).load(Relaxed) != named || link.is_marked() {
                return Err(RemoveError::Stale);
            }
            // Release: pairs with the acquire fences of whoever takes the row down; what we
            // did with the segment is done before its blocks are somebody else's.
            // loom: none (loom orders by full fences more than C11 does, and there is one on each side)
            // relaxed: on failure nothing is read.
            let marked = next.compare_exchange(link.0, link.marked().0, Release, Relaxed);
            if marked.is_err() {
                continue;
            }
            // Pairs with the fence in `release`: either we find the row without
            // an owner, or its owner finds the mark.
            // loom: loom_removal::a_segment_that_is_removed_while_its_creator_lets_go_is_taken_down
            fence(SeqCst);
            let finished = self.own_row(row, 0, by).map(|claim| finish(claim, 0));
            // In vain otherwise only if the chain is contended or corrupt; the segment
            // is gone all the same, and `reap` finds the rest.
            return match finished {
                Some(Err(WalkError::Evicted)) => Err(RemoveError::Evicted),
                _ => Ok(()),
            };
        }
        Err(RemoveError::Contended)
    }

    /// Takes back what partitions that are gone left half-made or half-removed, and
    /// returns how many rows that were. Nobody needs to wait for it: it gives back space.
    ///
    /// Needs compare-and-swap on this memory.
    ///
    /// # Errors
    ///
    /// [`RemoveError::Contended`] or [`RemoveError::Corrupt`]; rows that could
    /// not be dealt with are left for the next time. [`RemoveError::Evicted`] if the
    /// caller was said to be gone meanwhile. [`RemoveError::NoReadModifyWrite`] and
    /// [`RemoveError::Reformatted`] as in [`Registry::remove`].
    pub fn reap<L: Liveness>(
        &self,
        by: impl Claimant,
        liveness: &mut L,
    ) -> Result<usize, RemoveError> {
        self.check_may_change()?;
        let by = &Caller::begin(&by)?;
        let mut count = 0;
        let mut outcome = Ok(());
        for row in 0..self.places.geometry.segments {
            // relaxed: the fence in `Partition::look` is after it, and the exchange decides.
            let owner = self.owner(row).load(Relaxed);
            let left = match (owner, Incarnation::from_word(owner)) {
                (0, _) => self.is_abandoned(row),
                (_, Some(incarnation)) if incarnation.word() == owner => {
                    liveness.is_gone(incarnation)
                }
                _ => true, // No incarnation's, hence nobody's.
            };
            let claim = left.then(|| self.own_row(row, owner, by)).flatten();
            let Some(claim) = claim else {
                continue;
            };
            // Pairs with the fence in `insert`, should its owner live after all.
            // loom: loom_removal::a_creator_that_is_evicted_is_told_or_its_segment_stays
            fence(SeqCst);
            match finish(claim, owner) {
                Ok(()) => count += 1,
                Err(WalkError::Evicted) => return Err(RemoveError::Evicted),
                Err(lost) => outcome = Err(lost),
            }
        }
        outcome.map(|()| count).map_err(RemoveError::from)
    }

    /// Rows that somebody works on or that nobody has taken down yet, for inspection.
    pub fn unfinished(&self) -> impl Iterator<Item = Unfinished> + 'm {
        let registry = *self;
        (0..self.places.geometry.segments).filter_map(move |row| {
            // relaxed: for inspection; it may be old when it is returned.
            let owner = registry.owner(row).load(Relaxed);
            (owner != 0 || registry.is_abandoned(row)).then_some(Unfinished { row, owner })
        })
    }
}

/// Finishes what an earlier owner of a row, which is ours now, had begun; if
/// the chain does not say what, the row is `from`'s again.
fn finish(claim: Claim<'_, '_>, from: u32) -> Result<(), WalkError> {
    let linked = claim.is_named().then(|| claim.is_linked()).transpose();
    match linked {
        Ok(Some(true)) => claim.release(),
        Ok(_) => claim.take_down()?,
        Err(WalkError::Evicted) => return Err(WalkError::Evicted),
        Err(lost) => {
            claim.give_back(from);
            return Err(lost);
        }
    }
    Ok(())
}

/// A row that somebody works on, or did until it died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Its number.
    pub row: usize,
    /// The incarnation's word; 0 if the segment was removed and its remover died.
    pub owner: u32,
}
