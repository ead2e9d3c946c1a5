//! Lookup: which segment an identifier names.
//!
//! The invariants of `row` and `chain` state what is stored, and in which order. A lookup only
//! loads. It checks each loaded value against `TableLayout`, which each partition computes for
//! itself, and the size of the tables bounds every walk.

use memoffset::offset_of;

use shmem_core::primitive::{
    fence,
    Ordering::{Acquire, Relaxed},
};
use shmem_core::{ControlWord, Corrupt};

use crate::chain::{Node, Step, PASSES, RESTARTS};
use crate::error::OpenError;
use crate::id::{Id, Kind, Name, Request};
use crate::layout::Row;
pub use crate::memory::Registry;
use crate::memory::NAMED;
use crate::segment::Segment;

impl<'m> Registry<'m> {
    /// Returns the number of free bytes, in whole blocks and not necessarily contiguous.
    pub fn free_bytes(&self) -> usize {
        self.blocks().free_blocks() * self.layout.geometry.block_size
    }

    /// Returns the segment of `id`. Only loads; O(1).
    ///
    /// # Errors
    ///
    /// [`OpenError::NotFound`], [`OpenError::Contended`] if the table changed during every attempt,
    /// or [`OpenError::Corrupt`].
    #[cfg_attr(not(feature = "small"), inline(always))]
    pub fn lookup(&self, id: Id) -> Result<Segment<'m>, OpenError> {
        if cfg!(not(feature = "small")) {
            let found = match self.find_fast(id) {
                Step::Node(node) => self.segment_fast(&node),
                Step::End => return Err(OpenError::NotFound),
                Step::Changed => None,
            };
            if let Some(segment) = found {
                return Ok(segment);
            }
        }
        self.lookup_slow(id)
    }

    /// Reads the rest of a row that [`Self::find_fast`] returned, and confirms all of it (C4).
    #[inline(always)]
    fn segment_fast(&self, node: &Node) -> Option<Segment<'m>> {
        let segment = self.read_segment(node.row, node.id, node.state >> 1).ok()?;
        self.generation_matches(node.row, node.state)
            .then_some(segment)
    }

    /// As [`Self::lookup`], but starts again if the chain changes, and reports the word that is
    /// corrupt.
    #[cold]
    #[inline(never)]
    fn lookup_slow(&self, id: Id) -> Result<Segment<'m>, OpenError> {
        let Some(node) = self.find(id)? else {
            return Err(OpenError::NotFound);
        };
        // If it was removed between the two steps, it does not exist.
        self.segment(&node)?.ok_or(OpenError::NotFound)
    }

    /// Returns the segment that `request` names, of its kind and length. Only loads; O(1).
    ///
    /// # Errors
    ///
    /// [`OpenError::NotFound`]; [`OpenError::Kind`], [`OpenError::Length`] or
    /// [`OpenError::Collision`] if the segment differs from the request; [`OpenError::Reformatted`]
    /// if the region was formatted again since the handle was made; [`OpenError::Contended`] or
    /// [`OpenError::Corrupt`] as in [`Registry::lookup`].
    pub fn open(&self, request: &Request) -> Result<Segment<'m>, OpenError> {
        let found = self.lookup(request.id);
        // Last, because the result may belong to an earlier or a later format.
        if self.region().is_stale() {
            return Err(OpenError::Reformatted);
        }
        check(found?, request)
    }

    /// Returns every segment; one that is created or removed meanwhile may be missing.
    ///
    /// A row that is corrupt is returned as an error; the rows after it follow.
    pub fn segments(&self) -> impl Iterator<Item = Result<Segment<'m>, OpenError>> {
        self.segments_from(0)
    }

    /// As [`Registry::segments`], from row `first` on: to continue after [`Segment::row`].
    pub fn segments_from(
        &self,
        first: usize,
    ) -> impl Iterator<Item = Result<Segment<'m>, OpenError>> {
        let registry = *self;
        let segments = self.layout.geometry.segments;
        // For all rows that have an owner together: few, unless a partition is hostile.
        let mut steps = PASSES * segments + RESTARTS;
        (first..segments).filter_map(move |row| registry.list_row(row, &mut steps).transpose())
    }

    /// Returns the segment of a row, if it names one that is linked.
    fn list_row(&self, row: usize, steps: &mut usize) -> Result<Option<Segment<'m>>, OpenError> {
        // Acquire: pairs with the exchange in `change_state`. The creator is seen as the owner, or
        // as having released the row since, which it did after linking it.
        // loom: loom_registry::a_row_that_is_not_linked_is_not_listed
        let state = self.state(row).load(Acquire);
        if state & NAMED == 0 {
            return Ok(None);
        }
        // relaxed: the load of the state is before it, and the fence in `generation_matches` after
        // it.
        let owner = self.owner(row).load(Relaxed);
        let next = self.link_of(row);
        let id = self.id_in(row);
        if next.is_marked() || !self.generation_matches(row, state) {
            return Ok(None);
        }
        let node = Node {
            row,
            state,
            next,
            id,
        };
        if owner == 0 {
            return self.segment(&node); // T4
        }
        // It may not be linked yet.
        let id = Id::new(id).ok_or(OpenError::Corrupt(Corrupt {
            word: ControlWord::RowIdentifier,
            value: row as u32,
        }))?;
        match self.find_within(id, steps)? {
            Some(node) if node.row == row => self.segment(&node),
            _ => Ok(None),
        }
    }

    /// Returns true if `segment` is still the segment of its identifier: it belongs to this
    /// registry, was not removed before this call, and the region was not formatted again.
    pub fn is_current(&self, segment: &Segment<'m>) -> bool {
        if !self.contains(segment) {
            return false;
        }
        let link = self.link_of(segment.row);
        // Pairs with the fence in `claim_row`: a link of a later use of the row is not mistaken for
        // a link of this use.
        // loom: loom_removal::a_removed_segment_is_not_current
        fence(Acquire);
        let state = self.state(segment.row).load(Relaxed); // relaxed: the fence is before it
        let is_linked = state == segment.generation << 1 | NAMED && !link.is_marked();
        is_linked && !self.region().is_stale()
    }

    /// Returns true if `segment` can belong to this registry.
    pub(crate) fn contains(&self, segment: &Segment<'m>) -> bool {
        let inside = self.memory().sub(segment.offset, segment.window.len());
        let is_ours = inside.is_ok_and(|ours| ours.address() == segment.window.address());
        is_ours && segment.row < self.layout.geometry.segments
    }

    /// Reads the rest of a row; returns `None` if the row is in another use now.
    pub(crate) fn segment(&self, node: &Node) -> Result<Option<Segment<'m>>, OpenError> {
        let found = self.read_segment(node.row, node.id, node.state >> 1);
        if !self.generation_matches(node.row, node.state) {
            return Ok(None);
        }
        found.map(Some).map_err(OpenError::Corrupt)
    }

    /// Reads the words of a row that describe its segment; they are valid if
    /// [`Self::generation_matches`] confirms the state afterwards.
    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(crate) fn read_segment(
        &self,
        row: usize,
        id: u64,
        generation: u32,
    ) -> Result<Segment<'m>, Corrupt> {
        let words = self.row_window(row);
        // relaxed: the caller calls `generation_matches` after it (C4).
        let load = |field| words.word(field).load(Relaxed);
        let corrupt = |word, value| Corrupt { word, value };
        let length = load(offset_of!(Row, length));
        let first = load(offset_of!(Row, first_block));
        let (block, blocks) = (self.layout.geometry.block_size, self.layout.blocks);
        let len = length as usize;
        if len == 0 || len % 8 != 0 || len > blocks * block {
            return Err(corrupt(ControlWord::RowLength, length));
        }
        let start = u64::from(first) * block as u64;
        if start > (blocks * block - len) as u64 {
            return Err(corrupt(ControlWord::FirstBlock, first));
        }
        let offset = self.layout.data + start as usize;
        let window = self.memory().sub(offset, len);
        Ok(Segment {
            window: window.map_err(|_| corrupt(ControlWord::RowLength, length))?,
            row,
            offset,
            id: Id::new(id).ok_or(corrupt(ControlWord::RowIdentifier, row as u32))?,
            kind: Kind(load(offset_of!(Row, kind))),
            name: Name::read(words.window(), offset_of!(Row, name)),
            generation,
        })
    }
}

pub(crate) fn check<'m>(segment: Segment<'m>, request: &Request) -> Result<Segment<'m>, OpenError> {
    let named = segment.name != Name::NONE && request.name != Name::NONE;
    if named && segment.name != request.name {
        return Err(OpenError::Collision {
            found: segment.name,
        });
    }
    if segment.kind != request.kind {
        return Err(OpenError::Kind {
            found: segment.kind,
        });
    }
    if segment.len() != request.len as usize {
        return Err(OpenError::Length {
            found: segment.len(),
        });
    }
    Ok(segment)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::geometry::Geometry;
    use proptest::prelude::*;
    use shmem_core::mem::Heap;
    use shmem_core::{Incarnation, Region};

    const ROWS: usize = 8;

    /// Returns the result of a lookup as numbers.
    fn words(segment: &Segment<'_>) -> (usize, usize, usize, u64, u32, Name, u32) {
        let (offset, row) = (segment.offset, segment.row);
        let (id, kind) = (segment.id.get(), segment.kind.0);
        let len = segment.window.len();
        (offset, len, row, id, kind, segment.name, segment.generation)
    }

    proptest! {
        #[test]
        fn a_fast_lookup_of_corrupt_tables_returns_what_the_slow_lookup_returns(
            removed in proptest::collection::vec(1..=ROWS as u64, 0..4),
            stores in proptest::collection::vec((any::<u16>(), any::<u16>(), any::<u32>(), 0..3), 0..6),
        ) {
            let heap = Heap::new(8192);
            let region = Region::format(heap.window()).unwrap();
            let geometry = Geometry { segments: ROWS, partitions: 2, block_size: 128 };
            let registry = Registry::format(region, geometry).unwrap();
            let id = |id| Id::new(id).unwrap();
            let by = Incarnation::first(1);
            let make = |number| {
                let request = Request::new(id(number), Kind::RAW, 8 * number as usize).unwrap();
                registry.open_or_create(by, &request)
            };
            for number in 1..=ROWS as u64 {
                make(number).unwrap();
            }
            for number in removed {
                let _ = registry.lookup(id(number)).map(|segment| registry.remove(by, &segment));
                make(number).unwrap();
            }
            let (start, end) = (registry.layout.index, registry.layout.map);
            let word = |at: u16| region.memory().word(start + usize::from(at) * 4 % (end - start));
            for &(to, from, value, how) in &stores {
                word(to).store(
                    match how {
                        0 => value,
                        1 => word(from).load(Relaxed),
                        _ => word(to).load(Relaxed) ^ 1 << (value % 32),
                    },
                    Relaxed,
                );
            }
            for number in 1..=2 * ROWS as u64 {
                let found = registry.lookup(id(number)).map(|found| words(&found));
                let slow = registry.lookup_slow(id(number)).map(|found| words(&found));
                prop_assert_eq!(found, slow);
                if let Ok((offset, len, _, found, ..)) = found {
                    prop_assert_eq!(found, number);
                    prop_assert!(offset >= registry.layout.data && offset + len <= 8192);
                }
                let exists = number <= ROWS as u64;
                prop_assert!(!stores.is_empty() || found.is_ok() == exists);
            }
        }
    }
}
