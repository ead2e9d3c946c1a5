//! The registry: who is there, and which segment an identifier names.
//!
//! What is stored, and in which order, is in the invariants of `row` and
//! `chain`. Looking only loads: everything loaded is checked against `Places`,
//! which each partition computed for itself, and every walk is bounded by the tables.

use memoffset::offset_of;

use shmem_core::mem::Word;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::{ControlWord, Corrupt, Region, Window};

use crate::alloc::Blocks;
use crate::chain::Node;
use crate::error::{FormatError, OpenError};
use crate::geometry::{Geometry, Places};
use crate::id::{Id, Kind, Name, Request};
use crate::layout::{RegistryHeader, Row, REGISTRY};
use crate::row::NAMED;
use crate::segment::Segment;

/// The registry of a region.
#[derive(Clone, Copy)]
pub struct Registry<'m> {
    pub(crate) memory: Window<'m>,
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
        if Self::geometry_word(&memory).load(Relaxed) != 0 {
            return Err(FormatError::Exists);
        }
        // The tables are zero since the region was formatted, and zero is empty.
        // Relaxed: the word says all by itself, and the zeroes came with the region.
        Self::geometry_word(&memory).store(word, Relaxed);
        Ok(Self::of(memory, places))
    }

    /// Attaches to the registry of a region.
    ///
    /// # Errors
    ///
    /// [`FormatError::NotFormatted`], [`FormatError::Corrupt`] if its geometry is
    /// none, [`FormatError::TooShort`] if it is not this region's.
    pub fn attach(region: Region<'m>) -> Result<Self, FormatError> {
        let memory = region.memory();
        // Relaxed: as in `format`.
        let value = Self::geometry_word(&memory).load(Relaxed);
        if value == 0 {
            return Err(FormatError::NotFormatted);
        }
        let geometry = Geometry::decode(value).ok_or(FormatError::Corrupt(Corrupt {
            word: ControlWord::RegistryGeometry,
            value,
        }))?;
        let places = Places::of(geometry, memory.len())?;
        Ok(Self::of(memory, places))
    }

    fn of(memory: Window<'m>, places: Places) -> Self {
        Self {
            memory,
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
    /// [`OpenError::Corrupt`].
    pub fn open(&self, request: &Request) -> Result<Segment<'m>, OpenError> {
        check(self.lookup(request.id)?, request)
    }

    /// Every segment there is; one that is created or removed meanwhile may be missing.
    pub fn segments(&self) -> impl Iterator<Item = Result<Segment<'m>, OpenError>> {
        self.segments_from(0)
    }

    /// The same from row `first` on, to go on behind [`Segment::row`].
    pub fn segments_from(
        &self,
        first: usize,
    ) -> impl Iterator<Item = Result<Segment<'m>, OpenError>> {
        let registry = *self;
        (first..self.places.geometry.segments).filter_map(move |row| {
            let named = registry.state(row).load(Relaxed) & NAMED != 0;
            // By its identifier, because not every row that names one is linked.
            let id = Id::new(registry.id_in(row)).filter(|_| named)?;
            match registry.find(id) {
                Ok(Some(node)) if node.row == row => registry.segment(&node).transpose(),
                Ok(_) => None,
                Err(lost) => Some(Err(lost.into())),
            }
        })
    }

    /// The identifier in a row, whatever the row is used for.
    pub(crate) fn id_in(&self, row: usize) -> u64 {
        let load = |field| self.row(row, field).load(Relaxed);
        let high = load(offset_of!(Row, id_high));
        u64::from(high) << 32 | u64::from(load(offset_of!(Row, id_low)))
    }

    /// Whether `segment` is still what its identifier names.
    pub fn is_current(&self, segment: &Segment<'m>) -> bool {
        let state = self.state(segment.row).load(Relaxed);
        state == segment.generation << 1 | NAMED && !self.link_of(segment.row).is_marked()
    }

    pub(crate) fn blocks(&self) -> Blocks<'m> {
        Blocks::new(self.memory, self.places)
    }

    #[inline]
    pub(crate) fn row(&self, row: usize, field: usize) -> Word<'m> {
        self.memory.word(self.row_at(row) + field)
    }

    #[inline]
    pub(crate) fn row_at(&self, row: usize) -> usize {
        self.places.rows + row * core::mem::size_of::<Row>()
    }

    /// Reads the rest of a row; `None` if it is used for something else by now.
    pub(crate) fn segment(&self, node: &Node) -> Result<Option<Segment<'m>>, OpenError> {
        let state = self.state(node.row).load(Relaxed);
        let found = self.read_segment(node.row, node.id, state >> 1);
        if !self.is_of(node.row, node.version) {
            return Ok(None);
        }
        found.map(Some).map_err(OpenError::Corrupt)
    }

    /// The segment of a row that we own.
    pub(crate) fn segment_of(&self, row: usize, generation: u32) -> Result<Segment<'m>, OpenError> {
        self.read_segment(row, self.id_in(row), generation)
            .map_err(OpenError::Corrupt)
    }

    fn read_segment(&self, row: usize, id: u64, generation: u32) -> Result<Segment<'m>, Corrupt> {
        let load = |field| self.row(row, field).load(Relaxed);
        let length = load(offset_of!(Row, length));
        let first = load(offset_of!(Row, first_block));
        let block = self.places.geometry.block;
        let offset = self.places.data + (first as usize).min(self.places.blocks) * block;
        let len = length as usize;
        let whole = len.checked_next_multiple_of(8).filter(|&len| len != 0);
        let window = whole.and_then(|len| self.memory.sub(offset, len).ok());
        let corrupt = |word, value| Corrupt { word, value };
        let name_at = self.row_at(row) + offset_of!(Row, name);
        Ok(Segment {
            window: window.ok_or(corrupt(ControlWord::RowLength, length))?,
            row,
            offset,
            len,
            id: Id::new(id).ok_or(corrupt(ControlWord::RowIdentifier, row as u32))?,
            kind: Kind(load(offset_of!(Row, kind))),
            name: Name::read(self.memory, name_at),
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
