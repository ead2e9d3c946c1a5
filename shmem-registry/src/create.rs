//! How a segment is created.
//!
//! A creator owns a row that nobody can see, fills it, and links it at the end
//! of its identifier's chain by one compare-and-swap, which decides the race. The
//! invariants are those of `row` and `chain`; what is left of a creator that dies
//! is what `reap` finds.
//!
//! | dies                         | the table has     | `reap`                          |
//! |------------------------------|-------------------|---------------------------------|
//! | before it owns a row         | what it had       | finds nothing                   |
//! | before it links the row      | what it had       | takes the row and its blocks back |
//! | before it lets go of the row | the segment       | lets go of the row              |
//!
//! A creator that is only slow is left alone: `reap` asks for partitions that are gone.
//! One that was said to be gone while it lived finds out before its next bounded step,
//! and stores nothing more (T5). A link that it makes just then leads to a row of
//! another generation, which counts as the end of the chain (C5).

use memoffset::offset_of;

use shmem_core::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

use crate::alloc::Run;
use crate::chain::Place;
use crate::claimant::{Caller, Claimant};
use crate::error::OpenError;
use crate::evicted::Evicted;
use crate::id::Request;
use crate::layout::{RegistryHeader, Row, REGISTRY};
use crate::link::Link;
use crate::memory::{Registry, NAMED};
use crate::row::Claim;
use crate::segment::Segment;
use crate::table::check;

/// Bytes that are zeroed between two looks at the claim.
const PAGE: usize = 4096;

/// Whose segment an identifier has in the end.
enum Inserted<'m> {
    Ours(Segment<'m>),
    Theirs(Segment<'m>),
}

impl<'m> Registry<'m> {
    /// Finds the segment that `request` names, or creates it, zeroed. All
    /// partitions that ask for one identifier get one segment.
    ///
    /// What the caller leaves half-made if it dies is found by [`Registry::reap`].
    /// Zeroing takes its time, about a second for some GiB: a [`Attachment`](crate::Attachment)
    /// beats meanwhile. Needs compare-and-swap on this memory.
    ///
    /// # Errors
    ///
    /// As [`Registry::open`] if it exists; [`OpenError::TableFull`] or
    /// [`OpenError::OutOfSpace`] if it cannot be created, [`OpenError::Contended`]
    /// if it might be in a moment, [`OpenError::NoReadModifyWrite`] if this handle is not
    /// to create any, [`OpenError::Reformatted`] if it is not the region's any more: the
    /// region is as it was. [`OpenError::Evicted`] if the caller was said to be gone
    /// meanwhile: what it had made is others' to clear up, and it is to attach anew.
    pub fn open_or_create(
        &self,
        by: impl Claimant,
        request: &Request,
    ) -> Result<Segment<'m>, OpenError> {
        match self.open(request) {
            Err(OpenError::NotFound) => self.check_may_change()?,
            // A walk with changes may clear what is in the way.
            Err(OpenError::Contended) if self.check_may_change().is_ok() => {}
            found => return found,
        }
        let by = &Caller::begin(&by)?;
        // Full, or only while others create: it is known when nothing moved
        // during an attempt.
        match self.create(by, request) {
            Err(OpenError::TableFull { .. } | OpenError::OutOfSpace { .. }) => {}
            done => return done,
        }
        let before = self.settled();
        let error = match self.create(by, request) {
            Err(error @ (OpenError::TableFull { .. } | OpenError::OutOfSpace { .. })) => error,
            done => return done,
        };
        // Our own row came back with its next generation.
        let own = match error {
            OpenError::OutOfSpace { .. } => 1 << 1,
            _ => 0,
        };
        let unmoved = before.map(|sum| sum.wrapping_add(own));
        let settled = unmoved.is_some() && self.settled() == unmoved;
        match self.open(request) {
            Err(OpenError::NotFound) if settled => Err(error),
            Err(OpenError::NotFound) => Err(OpenError::Contended),
            found => found,
        }
    }

    /// The sum of all rows' states, which no change leaves as it is; `None`
    /// while somebody works on one.
    fn settled(&self) -> Option<u32> {
        let mut sum = 0_u32;
        for row in 0..self.places.geometry.segments {
            // An exchange, since a load might still see the 0 from before the row
            // was owned. Pairs with the one in `let_go`: the row is linked.
            // relaxed: on failure nothing is read.
            // loom: loom_registry
            let unowned = self.owner(row).compare_exchange(0, 0, Acquire, Relaxed);
            if unowned.is_err() || self.is_abandoned(row) {
                return None;
            }
            // relaxed: the exchange is before it.
            sum = sum.wrapping_add(self.state(row).load(Relaxed));
        }
        Some(sum)
    }

    fn create(&self, by: &Caller<'_>, request: &Request) -> Result<Segment<'m>, OpenError> {
        let claim = self.claim_row(by)?;
        let len = request.len as usize;
        let count = len.div_ceil(self.places.geometry.block);
        let Some(run) = self.blocks().allocate(&claim, count, request.align)? else {
            claim.retire()?;
            return Err(OpenError::OutOfSpace { len });
        };
        self.prepare(&claim, run, request)?;
        let lost = match self.insert(&claim, run, request) {
            Ok(Inserted::Ours(segment)) => {
                claim.release();
                return Ok(segment);
            }
            Ok(Inserted::Theirs(segment)) => check(segment, request),
            // Nothing more is stored.
            Err(OpenError::Evicted) => return Err(OpenError::Evicted),
            Err(error) => Err(error),
        };
        self.blocks().free(&claim, run)?;
        claim.retire()?;
        lost
    }

    /// Claims a free row.
    fn claim_row<'c>(&self, by: &'c Caller<'c>) -> Result<Claim<'c, 'm>, OpenError> {
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
            // Pairs with the fences in `generation_matches`, `remove` and `allocate`: what is
            // stored into the row from here on is not seen without its generation (T2), nor are
            // blocks claimed for it without its owner and its generation.
            // loom: loom_removal::a_reader_never_takes_the_rows_next_segment_for_its_own
            fence(Release);
            return Ok(claim);
        }
        Err(OpenError::TableFull { segments })
    }

    /// Fills a row and zeroes its segment (T3). The exchange of the state, and the one in
    /// `insert`, publish it; a reader of an earlier use finds the generation moved.
    fn prepare(&self, claim: &Claim<'_, 'm>, run: Run, request: &Request) -> Result<(), Evicted> {
        let (row, generation) = (claim.row, claim.generation);
        let (low, high) = request.id.halves();
        self.end_chain_at(claim)?;
        for (field, value) in [
            (offset_of!(Row, kind), request.kind.0),
            (offset_of!(Row, id_low), low),
            (offset_of!(Row, id_high), high),
            (offset_of!(Row, first_block), run.first as u32),
            (offset_of!(Row, length), request.len),
        ] {
            claim.check()?;
            // relaxed: the fence in `claim_row` is before it, and the exchange of the state
            // is after it.
            self.row(row, field).store(value, Relaxed);
        }
        claim.check()?;
        let name = self.row_at(row) + offset_of!(Row, name);
        self.memory().write_shared(name, request.name.bytes());
        let block = self.places.geometry.block;
        let start = self.places.data + run.first * block;
        let end = start + run.count * block;
        for at in (start..end).step_by(PAGE) {
            claim.step()?;
            self.memory().zero(at, PAGE.min(end - at));
        }
        claim.change_state(generation << 1, generation << 1 | NAMED)
    }

    /// Makes the row the end of a chain, unless somebody has closed it (T6).
    fn end_chain_at(&self, claim: &Claim<'_, 'm>) -> Result<(), Evicted> {
        let next = self.row(claim.row, offset_of!(Row, next));
        loop {
            // relaxed: an exchange of the value that was found decides.
            let before = next.load(Relaxed);
            // Bounded: it fails once for each late creator of an earlier use.
            claim.check()?;
            let end = Link::end(claim.generation).0;
            // relaxed: as the other words in `prepare`.
            if next.compare_exchange(before, end, Relaxed, Relaxed).is_ok() {
                return Ok(());
            }
        }
    }

    /// Links a prepared row, or finds what its identifier had before it.
    fn insert(
        &self,
        claim: &Claim<'_, 'm>,
        run: Run,
        request: &Request,
    ) -> Result<Inserted<'m>, OpenError> {
        let ours = Link::to(claim.row, claim.generation);
        let segment = self.segment_at(claim, run, request);
        // Each turn ends here or found the chain's end moved on; a hostile
        // partition could move it for ever.
        for _ in 0..=self.places.geometry.segments {
            let (word, end) = match self.locate(request.id.get())? {
                Place::Found(node) if node.row == claim.row => return Ok(Inserted::Ours(segment)),
                Place::Found(node) => match self.segment(&node)? {
                    Some(segment) => return Ok(Inserted::Theirs(segment)),
                    None => continue,
                },
                Place::End(word, end) => (word, end),
            };
            claim.check()?;
            // Release pairs with the loads in `chain`: row and segment are whole.
            // relaxed: on failure nothing is read; the loser walks again.
            // loom: loom_removal::two_creators_in_one_chain_both_stay_in_it
            let linked = word.compare_exchange(end.0, ours.0, Release, Relaxed);
            if linked.is_ok() {
                // Pairs with the fence in `reap`: either who takes the row from us finds
                // it linked, or we find that it was taken.
                // loom: loom_removal::a_creator_that_is_evicted_is_told_or_its_segment_stays
                fence(SeqCst);
                claim.check()?;
                return Ok(Inserted::Ours(segment));
            }
        }
        Err(OpenError::Contended)
    }

    /// The segment that was prepared, from what was asked for: the row may say otherwise by
    /// now.
    fn segment_at(&self, claim: &Claim<'_, 'm>, run: Run, request: &Request) -> Segment<'m> {
        let offset = self.places.data + run.first * self.places.geometry.block;
        let window = self.memory().sub(offset, request.len as usize);
        Segment {
            window: window.expect("blocks are inside the region"),
            row: claim.row,
            offset,
            id: request.id,
            kind: request.kind,
            name: request.name,
            generation: claim.generation,
        }
    }
}
