//! The registry: who is there, and which segment an identifier names.
//!
//! What is stored, and in which order, is in the invariants of `row` and
//! `chain`. Looking only loads: everything loaded is checked against `Places`,
//! which each partition computed for itself, and every walk is bounded by the tables.

use memoffset::offset_of;

use shmem_core::mem::Word;
use shmem_core::primitive::{
    fence,
    Ordering::{Acquire, Relaxed},
};
use shmem_core::{ControlWord, Corrupt, Region, Window};

use crate::alloc::Blocks;
use crate::chain::{Node, LAPS, RESTARTS};
use crate::error::{FormatError, MayNotChange, OpenError};
use crate::geometry::{Geometry, Places};
use crate::id::{Id, Kind, Name, Request};
use crate::layout::{RegistryHeader, Row, REGISTRY};
use crate::row::NAMED;
use crate::segment::Segment;

/// The registry of a region.
#[derive(Clone, Copy)]
pub struct Registry<'m> {
    region: Region<'m>,
    pub(crate) places: Places,
    /// Whether this handle may compare and swap.
    pub(crate) may_change: bool,
}

impl<'m> Registry<'m> {
    /// Makes an empty registry in a region that was just formatted.
    ///
    /// # Errors
    ///
    /// [`FormatError::Geometry`], [`FormatError::TooShort`] or
    /// [`FormatError::Exists`]; the region is as it was.
    pub fn format(region: Region<'m>, geometry: Geometry) -> Result<Self, FormatError> {
        let memory = region.memory();
        let word = geometry.encode()?;
        let places = Places::of(geometry, memory.len())?;
        // relaxed: one partition formats; the word says all by itself.
        if Self::geometry_word(&memory).load(Relaxed) != 0 {
            return Err(FormatError::Exists);
        }
        // The tables are zero since the region was formatted, and zero is empty.
        // relaxed: the word says all by itself, and the zeroes came with the region.
        Self::geometry_word(&memory).store(word, Relaxed);
        Ok(Self::of(region, places))
    }

    /// Attaches to the registry of a region.
    ///
    /// # Errors
    ///
    /// [`FormatError::NotFormatted`], [`FormatError::Corrupt`] if its geometry is
    /// none, [`FormatError::TooShort`] if it is not this region's.
    pub fn attach(region: Region<'m>) -> Result<Self, FormatError> {
        let memory = region.memory();
        // relaxed: as in `format`.
        let value = Self::geometry_word(&memory).load(Relaxed);
        if value == 0 {
            return Err(FormatError::NotFormatted);
        }
        let geometry = Geometry::decode(value).ok_or(FormatError::Corrupt(Corrupt {
            word: ControlWord::RegistryGeometry,
            value,
        }))?;
        let places = Places::of(geometry, memory.len())?;
        Ok(Self::of(region, places))
    }

    fn of(region: Region<'m>, places: Places) -> Self {
        Self {
            region,
            places,
            may_change: true,
        }
    }

    /// The same registry for memory on which compare-and-swap does not work, or not
    /// together with a partition there: it opens segments, and does not
    /// create, remove or reap any. `shmem_sync::litmus` finds out.
    #[must_use]
    pub fn without_read_modify_write(self) -> Self {
        Self {
            may_change: false,
            ..self
        }
    }

    #[inline]
    pub(crate) fn memory(&self) -> Window<'m> {
        self.region.memory()
    }

    pub(crate) fn region(&self) -> Region<'m> {
        self.region
    }

    /// Whether this handle may change the table, and the region is what it was.
    pub(crate) fn check_may_change(&self) -> Result<(), MayNotChange> {
        if !self.may_change {
            return Err(MayNotChange::NoReadModifyWrite);
        }
        match self.region.is_stale() {
            true => Err(MayNotChange::Reformatted),
            false => Ok(()),
        }
    }

    fn geometry_word(memory: &Window<'m>) -> Word<'m> {
        memory.word(REGISTRY + offset_of!(RegistryHeader, geometry))
    }

    /// The numbers it was formatted with.
    pub fn geometry(&self) -> Geometry {
        self.places.geometry
    }

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
    #[inline]
    pub fn lookup(&self, id: Id) -> Result<Segment<'m>, OpenError> {
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
        if self.region.is_stale() {
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
        let state = self.state(row).load(Acquire); // loom: loom_registry::a_row_that_is_not_linked_is_not_listed
        if state & NAMED == 0 {
            return Ok(None);
        }
        // relaxed: the load of the state is before it, and the fence in `is_of` after it.
        let owner = self.owner(row).load(Relaxed);
        let next = self.link_of(row);
        let id = self.id_in(row);
        if next.is_marked() || !self.is_of(row, state) {
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

    /// The identifier in a row, whatever the row is used for.
    pub(crate) fn id_in(&self, row: usize) -> u64 {
        // relaxed: `is_of` tells whether it is of the use that the caller means (C4), and what
        // an owner reads only an owner stored.
        let load = |field| self.row(row, field).load(Relaxed);
        let high = load(offset_of!(Row, id_high));
        u64::from(high) << 32 | u64::from(load(offset_of!(Row, id_low)))
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
        fence(Acquire); // loom: loom_removal::a_segment_that_was_removed_is_not_current_any_more
        let state = self.state(segment.row).load(Relaxed); // relaxed: the fence is before it
        let is_linked = state == segment.generation << 1 | NAMED && !link.is_marked();
        is_linked && !self.region.is_stale()
    }

    /// Whether `segment` can be one of this registry's.
    pub(crate) fn has(&self, segment: &Segment<'m>) -> bool {
        let inside = self.memory().sub(segment.offset, segment.window.len());
        let is_ours = inside.is_ok_and(|ours| ours.address() == segment.window.address());
        is_ours && segment.row < self.places.geometry.segments
    }

    pub(crate) fn blocks(&self) -> Blocks<'m> {
        Blocks::new(*self)
    }

    #[inline]
    pub(crate) fn row(&self, row: usize, field: usize) -> Word<'m> {
        self.memory().word(self.row_at(row) + field)
    }

    #[inline]
    pub(crate) fn row_at(&self, row: usize) -> usize {
        self.places.rows + row * core::mem::size_of::<Row>()
    }

    /// Reads the rest of a row; `None` if it is used for something else by now.
    pub(crate) fn segment(&self, node: &Node) -> Result<Option<Segment<'m>>, OpenError> {
        let found = self.read_segment(node.row, node.id, node.state >> 1);
        if !self.is_of(node.row, node.state) {
            return Ok(None);
        }
        found.map(Some).map_err(OpenError::Corrupt)
    }

    /// What a row says of a segment, to be believed if it [is of it](Self::is_of) still.
    pub(crate) fn read_segment(
        &self,
        row: usize,
        id: u64,
        generation: u32,
    ) -> Result<Segment<'m>, Corrupt> {
        // relaxed: the caller asks `is_of` after it (C4).
        let load = |field| self.row(row, field).load(Relaxed);
        let corrupt = |word, value| Corrupt { word, value };
        let length = load(offset_of!(Row, length));
        let first = load(offset_of!(Row, first_block));
        let (block, blocks) = (self.places.geometry.block, self.places.blocks);
        let len = length as usize;
        let count = len.div_ceil(block);
        if len == 0 || len % 8 != 0 || count > blocks {
            return Err(corrupt(ControlWord::RowLength, length));
        }
        if first as usize > blocks - count {
            return Err(corrupt(ControlWord::FirstBlock, first));
        }
        let offset = self.places.data + first as usize * block;
        let window = self.memory().sub(offset, len);
        let name_at = self.row_at(row) + offset_of!(Row, name);
        Ok(Segment {
            window: window.map_err(|_| corrupt(ControlWord::RowLength, length))?,
            row,
            offset,
            id: Id::new(id).ok_or(corrupt(ControlWord::RowIdentifier, row as u32))?,
            kind: Kind(load(offset_of!(Row, kind))),
            name: Name::read(self.memory(), name_at),
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
