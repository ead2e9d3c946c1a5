//! Which segment an identifier names.
//!
//! What is stored, and in which order, is in the invariants of `row` and
//! `chain`. Looking only loads: everything loaded is checked against `TableLayout`,
//! which each partition computed for itself, and every walk is bounded by the tables.

use memoffset::offset_of;

use shmem_core::primitive::{
    fence,
    Ordering::{Acquire, Relaxed},
};
use shmem_core::{ControlWord, Corrupt};

use crate::chain::{Node, Step, LAPS, RESTARTS};
use crate::error::OpenError;
use crate::id::{Id, Kind, Name, Request};
use crate::layout::Row;
pub use crate::memory::Registry;
use crate::memory::NAMED;
use crate::segment::Segment;

impl<'m> Registry<'m> {
    /// Bytes that are free, in whole blocks, not necessarily in one piece.
    pub fn free_len(&self) -> usize {
        self.blocks().free_blocks() * self.places.geometry.block
    }

    /// Finds the segment of `id`. Only loads; O(1).
    ///
    /// # Errors
    ///
    /// [`OpenError::NotFound`], [`OpenError::Contended`] if the table changed
    /// under every look, or [`OpenError::Corrupt`].
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

    /// As [`Self::lookup`], with restarts where the chain changes; says which word is corrupt.
    #[cold]
    #[inline(never)]
    fn lookup_slow(&self, id: Id) -> Result<Segment<'m>, OpenError> {
        let Some(node) = self.find(id)? else {
            return Err(OpenError::NotFound);
        };
        // Removed between the two looks, it is not there.
        self.segment(&node)?.ok_or(OpenError::NotFound)
    }

    /// Finds the segment that `request` names, of its kind and length. Only loads; O(1).
    ///
    /// # Errors
    ///
    /// [`OpenError::NotFound`]; [`OpenError::Kind`], [`OpenError::Length`] or
    /// [`OpenError::Collision`] if the segment is another than asked for;
    /// [`OpenError::Reformatted`] if the registry is not the region's any more;
    /// [`OpenError::Corrupt`].
    pub fn open(&self, request: &Request) -> Result<Segment<'m>, OpenError> {
        let found = self.lookup(request.id);
        // Last: what was found may be of an earlier or a later format.
        if self.region().is_stale() {
            return Err(OpenError::Reformatted);
        }
        check(found?, request)
    }

    /// Every segment there is; one that is created or removed meanwhile may be missing.
    ///
    /// An error stands for a row that is broken; what follows it goes on.
    pub fn segments(&self) -> impl Iterator<Item = Result<Segment<'m>, OpenError>> {
        self.segments_from(0)
    }

    /// The same from row `first` on, to go on behind [`Segment::row`].
    pub fn segments_from(
        &self,
        first: usize,
    ) -> impl Iterator<Item = Result<Segment<'m>, OpenError>> {
        let registry = *self;
        let segments = self.places.geometry.segments;
        // For the rows that somebody works on, all together: few, unless a partition lies.
        let mut steps = LAPS * segments + RESTARTS;
        (first..segments).filter_map(move |row| registry.listed(row, &mut steps).transpose())
    }

    /// The segment of a row, if there is one.
    fn listed(&self, row: usize, steps: &mut usize) -> Result<Option<Segment<'m>>, OpenError> {
        // Acquire: pairs with the exchange in `change_state`; who made it name a segment is
        // seen to own it, or to have let go since, which is after it was linked.
        // loom: loom_registry::a_row_that_is_not_linked_is_not_listed
        let state = self.state(row).load(Acquire);
        if state & NAMED == 0 {
            return Ok(None);
        }
        // relaxed: the load of the state is before it, and the fence in `generation_matches` after it.
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

    /// Whether `segment` is still what its identifier names: it is of this registry, was
    /// not removed before this call, and the region was not formatted again.
    pub fn is_current(&self, segment: &Segment<'m>) -> bool {
        if !self.has(segment) {
            return false;
        }
        let link = self.link_of(segment.row);
        // Pairs with the fence in `claim_row`: a link of a later use of the row is not
        // taken for this one's.
        // loom: loom_removal::a_segment_that_was_removed_is_not_current_any_more
        fence(Acquire);
        let state = self.state(segment.row).load(Relaxed); // relaxed: the fence is before it
        let is_linked = state == segment.generation << 1 | NAMED && !link.is_marked();
        is_linked && !self.region().is_stale()
    }

    /// Whether `segment` can be one of this registry's.
    pub(crate) fn has(&self, segment: &Segment<'m>) -> bool {
        let inside = self.memory().sub(segment.offset, segment.window.len());
        let is_ours = inside.is_ok_and(|ours| ours.address() == segment.window.address());
        is_ours && segment.row < self.places.geometry.segments
    }

    /// Reads the rest of a row; `None` if it is used for something else by now.
    pub(crate) fn segment(&self, node: &Node) -> Result<Option<Segment<'m>>, OpenError> {
        let found = self.read_segment(node.row, node.id, node.state >> 1);
        if !self.generation_matches(node.row, node.state) {
            return Ok(None);
        }
        found.map(Some).map_err(OpenError::Corrupt)
    }

    /// What a row says of a segment, to be believed if it [is of it](Self::generation_matches)
    /// still.
    #[cfg_attr(not(feature = "small"), inline(always))]
    pub(crate) fn read_segment(
        &self,
        row: usize,
        id: u64,
        generation: u32,
    ) -> Result<Segment<'m>, Corrupt> {
        let words = self.row_window(row);
        // relaxed: the caller asks `generation_matches` after it (C4).
        let load = |field| words.word(field).load(Relaxed);
        let corrupt = |word, value| Corrupt { word, value };
        let length = load(offset_of!(Row, length));
        let first = load(offset_of!(Row, first_block));
        let (block, blocks) = (self.places.geometry.block, self.places.blocks);
        let len = length as usize;
        if len == 0 || len % 8 != 0 || len > blocks * block {
            return Err(corrupt(ControlWord::RowLength, length));
        }
        let start = u64::from(first) * block as u64;
        if start > (blocks * block - len) as u64 {
            return Err(corrupt(ControlWord::FirstBlock, first));
        }
        let offset = self.places.data + start as usize;
        let window = self.memory().sub(offset, len);
        Ok(Segment {
            window: window.map_err(|_| corrupt(ControlWord::RowLength, length))?,
            row,
            offset,
            id: Id::new(id).ok_or(corrupt(ControlWord::RowIdentifier, row as u32))?,
            kind: Kind(load(offset_of!(Row, kind))),
            name: Name::read(words, offset_of!(Row, name)),
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

    /// What a lookup answers, as numbers.
    fn words(segment: &Segment<'_>) -> (usize, usize, usize, u64, u32, Name, u32) {
        let (offset, row) = (segment.offset, segment.row);
        let (id, kind) = (segment.id.get(), segment.kind.0);
        let len = segment.window.len();
        (offset, len, row, id, kind, segment.name, segment.generation)
    }

    proptest! {
        #[test]
        fn a_lookup_of_scribbled_tables_answers_as_the_slow_one_does(
            removed in proptest::collection::vec(1..=ROWS as u64, 0..4),
            strokes in proptest::collection::vec((any::<u16>(), any::<u16>(), any::<u32>(), 0..3), 0..6),
        ) {
            let heap = Heap::new(8192);
            let region = Region::format(heap.window()).unwrap();
            let geometry = Geometry { segments: ROWS, partitions: 2, block: 128 };
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
            let (start, end) = (registry.places.index, registry.places.map);
            let word = |at: u16| region.memory().word(start + usize::from(at) * 4 % (end - start));
            for &(to, from, value, how) in &strokes {
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
                    prop_assert!(offset >= registry.places.data && offset + len <= 8192);
                }
                let is_there = number <= ROWS as u64;
                prop_assert!(!strokes.is_empty() || found.is_ok() == is_there);
            }
        }
    }
}
