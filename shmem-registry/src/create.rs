//! Creates segments.
//!
//! A creator owns a row that no other partition sees, fills it, and links it at the end of its
//! identifier's chain. That is one compare-and-swap, which decides the race. The invariants are
//! those of `row` and `chain`. If a creator dies, `reap` finds what it left:
//!
//! | the creator dies           | the table contains | `reap`                               |
//! |----------------------------|--------------------|--------------------------------------|
//! | before it owns a row       | no change          | finds nothing                        |
//! | before it links the row    | no change          | takes down the row, frees its blocks |
//! | before it releases the row | the segment        | releases the row                     |
//!
//! `reap` leaves the rows of a creator that is only slow, because it takes only from partitions
//! that are gone. A creator that runs but was treated as gone detects this before its next bounded
//! step and stores nothing more (T5). If it links its row at that moment, the link names a row of
//! another generation and counts as the end of the chain (C5).

use memoffset::offset_of;

use shmem_core::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

use crate::alloc::Run;
use crate::chain::Position;
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

/// Bytes that are zeroed between two checks of the claim.
const PAGE: usize = 4096;

/// The segment that an identifier names after the race.
enum Inserted<'m> {
    Ours(Segment<'m>),
    Theirs(Segment<'m>),
}

impl<'m> Registry<'m> {
    /// Returns the segment that `request` names, or creates it, zeroed. All partitions that request
    /// one identifier get one segment.
    ///
    /// If the caller dies, [`Registry::reap`] finds what it left half-created. Zeroing takes time,
    /// about a second for a few GiB; an [`Attachment`](crate::Attachment) beats meanwhile. Needs
    /// compare-and-swap on this memory.
    ///
    /// # Errors
    ///
    /// As [`Registry::open`] if the segment exists. [`OpenError::TableFull`] or
    /// [`OpenError::OutOfSpace`] if it cannot be created, [`OpenError::Contended`] if a later
    /// attempt may succeed. [`OpenError::NoReadModifyWrite`] if the handle may not create segments,
    /// [`OpenError::Reformatted`] if the region was formatted again since the handle was made.
    /// After these errors the region is unchanged. [`OpenError::Evicted`] if a later incarnation of
    /// the caller's partition has attached, or another partition reaped the caller's row. Others
    /// remove what was created, and the caller must attach again.
    pub fn open_or_create(
        &self,
        caller: impl Claimant,
        request: &Request,
    ) -> Result<Segment<'m>, OpenError> {
        match self.open(request) {
            Err(OpenError::NotFound) => self.check_may_change()?,
            // A walk that unlinks marked rows may succeed.
            Err(OpenError::Contended) if self.check_may_change().is_ok() => {}
            found => return found,
        }
        let by = &Caller::begin(&caller)?;
        // The table is full, or only appears to be while others create. It is full if no row
        // changed during an attempt.
        match self.create(by, request) {
            Err(OpenError::TableFull { .. } | OpenError::OutOfSpace { .. }) => {}
            done => return done,
        }
        let before = self.state_sum();
        let error = match self.create(by, request) {
            Err(error @ (OpenError::TableFull { .. } | OpenError::OutOfSpace { .. })) => error,
            done => return done,
        };
        // Our own row was released with its next generation.
        let own = match error {
            OpenError::OutOfSpace { .. } => 1 << 1,
            _ => 0,
        };
        let expected = before.map(|sum| sum.wrapping_add(own));
        let is_unchanged = expected.is_some() && self.state_sum() == expected;
        match self.open(request) {
            Err(OpenError::NotFound) if is_unchanged => Err(error),
            Err(OpenError::NotFound) => Err(OpenError::Contended),
            found => found,
        }
    }

    /// Returns the sum of the states of all rows, which every change of a row changes; `None` while
    /// a partition works on a row.
    fn state_sum(&self) -> Option<u32> {
        let mut sum = 0_u32;
        for row in 0..self.layout.geometry.segments {
            // An exchange, because a load could still return the 0 from before the row was owned.
            // Pairs with the one in `clear_owner`: the row is linked.
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
        let count = len.div_ceil(self.layout.geometry.block_size);
        let Some(run) = self.blocks().allocate(&claim, count, request.align)? else {
            claim.retire()?;
            return Err(OpenError::OutOfSpace { len });
        };
        self.prepare(&claim, run, request)?;
        let outcome = match self.insert(&claim, run, request) {
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
        outcome
    }

    /// Claims a free row.
    fn claim_row<'c>(&'c self, by: &'c Caller<'c>) -> Result<Claim<'c, 'm>, OpenError> {
        let segments = self.layout.geometry.segments;
        let hint = self
            .memory()
            .word(REGISTRY + offset_of!(RegistryHeader, row_hint));
        // Starts after the row that was taken last, so that a row is not used again soon (C3).
        // relaxed: any value is harmless.
        let start = hint.load(Relaxed) as usize;
        for step in 0..segments {
            let row = start.wrapping_add(step) & (segments - 1);
            // relaxed: a hint; the state is loaded again when the row is ours.
            let free = self.state(row).load(Relaxed) & NAMED == 0;
            // relaxed: a hint; the exchange in `acquire_row` decides.
            if !free || self.owner(row).load(Relaxed) != 0 {
                continue;
            }
            let Some(claim) = self.acquire_row(row, 0, by) else {
                continue;
            };
            // relaxed: the exchange in `acquire_row` is before it.
            if self.state(row).load(Relaxed) & NAMED != 0 {
                claim.release();
                continue;
            }
            // relaxed: any value is harmless.
            hint.store(row as u32 + 1, Relaxed);
            // Pairs with the fences in `generation_matches`, `remove`, `is_current` and `search`. A
            // partition that sees what is stored into the row from here on also sees its generation
            // (T2). One that sees the blocks that are claimed for it also sees its owner and its
            // generation.
            // loom: loom_removal::a_reader_never_returns_the_next_segment_of_a_row
            fence(Release);
            return Ok(claim);
        }
        Err(OpenError::TableFull { segments })
    }

    /// Fills a row and zeroes its segment (T3). The exchange of the state, and the one in `insert`,
    /// publish it. A reader of an earlier use finds that the generation has changed.
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
        let block = self.layout.geometry.block_size;
        let start = self.layout.data + run.first * block;
        let end = start + run.count * block;
        for at in (start..end).step_by(PAGE) {
            claim.step()?;
            self.memory().zero(at, PAGE.min(end - at));
        }
        claim.change_state(generation << 1, generation << 1 | NAMED)
    }

    /// Makes the row the end of a chain, unless another partition has taken the row and marked it
    /// (T6).
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

    /// Links a prepared row, or finds the segment that its identifier names already.
    fn insert(
        &self,
        claim: &Claim<'_, 'm>,
        run: Run,
        request: &Request,
    ) -> Result<Inserted<'m>, OpenError> {
        let ours = Link::to(claim.row, claim.generation);
        let segment = self.segment_at(claim, run, request);
        // Each pass ends here, or the end of the chain has moved. Without this limit a hostile
        // partition could move it endlessly.
        for _ in 0..=self.layout.geometry.segments {
            let (word, end) = match self.locate(request.id.get())? {
                Position::Found(node) if node.row == claim.row => {
                    return Ok(Inserted::Ours(segment))
                }
                Position::Found(node) => match self.segment(&node)? {
                    Some(segment) => return Ok(Inserted::Theirs(segment)),
                    None => continue,
                },
                Position::End(word, end) => (word, end),
            };
            claim.check()?;
            // Release: pairs with the loads in `chain`; row and segment are complete.
            // relaxed: on failure nothing is read; the loser walks again.
            // loom: loom_removal::two_creators_in_one_chain_both_stay_in_it
            let linked = word.compare_exchange(end.0, ours.0, Release, Relaxed);
            if linked.is_ok() {
                // Pairs with the fence in `reap`: either the partition that takes the row from us
                // finds it linked, or we find that it was taken.
                // loom: loom_removal::an_evicted_creator_gets_an_error_or_its_segment_stays
                fence(SeqCst);
                claim.check()?;
                return Ok(Inserted::Ours(segment));
            }
        }
        Err(OpenError::Contended)
    }

    /// Returns the segment that was prepared, from the request: the row may have other contents by
    /// now.
    fn segment_at(&self, claim: &Claim<'_, 'm>, run: Run, request: &Request) -> Segment<'m> {
        let offset = self.layout.data + run.first * self.layout.geometry.block_size;
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
