//! The registry of a region, as a handle on the words of its tables.

use core::mem::size_of;

use memoffset::offset_of;

use shmem_core::mem::Word;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::{ControlWord, Corrupt, Region, Window};

use crate::error::{FormatError, MayNotChange};
use crate::geometry::{Geometry, TableLayout};
use crate::layout::{RegistryHeader, Row, REGISTRY};
use crate::link::Link;

/// Bit 0 of a row's state: it names a segment.
pub(crate) const NAMED: u32 = 1;

/// The registry of a region.
#[derive(Clone, Copy)]
pub struct Registry<'m> {
    region: Region<'m>,
    pub(crate) places: TableLayout,
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
        let places = TableLayout::of(geometry, memory.len())?;
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
        let places = TableLayout::of(geometry, memory.len())?;
        Ok(Self::of(region, places))
    }

    fn of(region: Region<'m>, places: TableLayout) -> Self {
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

    #[inline]
    pub(crate) fn row(&self, row: usize, field: usize) -> Word<'m> {
        self.row_window(row).word(field)
    }

    /// The whole row, so that its bounds are checked once for all its words.
    #[inline]
    pub(crate) fn row_window(&self, row: usize) -> Window<'m> {
        self.memory().part(self.row_at(row), size_of::<Row>())
    }

    #[inline]
    pub(crate) fn row_at(&self, row: usize) -> usize {
        self.places.rows + row * size_of::<Row>()
    }

    #[inline]
    pub(crate) fn state(&self, row: usize) -> Word<'m> {
        self.row(row, offset_of!(Row, state))
    }

    pub(crate) fn owner(&self, row: usize) -> Word<'m> {
        self.row(row, offset_of!(Row, owner))
    }

    // relaxed in all of this: the caller loads the row's state after an acquire fence
    // (`generation_matches`, `remove`, `is_current`), or it is `is_abandoned`.
    #[inline]
    pub(crate) fn link_of(&self, row: usize) -> Link {
        Link(self.row(row, offset_of!(Row, next)).load(Relaxed))
    }

    pub(crate) fn next(&self, row: usize) -> Word<'m> {
        self.row(row, offset_of!(Row, next))
    }

    /// The identifier in a row, whatever the row is used for.
    #[inline]
    pub(crate) fn id_in(&self, row: usize) -> u64 {
        // relaxed: `generation_matches` tells whether it is of the use that the caller means (C4), and what
        // an owner reads only an owner stored.
        let load = |field| self.row(row, field).load(Relaxed);
        let high = load(offset_of!(Row, id_high));
        u64::from(high) << 32 | u64::from(load(offset_of!(Row, id_low)))
    }

    #[inline]
    pub(crate) fn bucket_word(&self, bucket: usize) -> Word<'m> {
        self.memory().word(self.places.index + bucket * 4)
    }
}
