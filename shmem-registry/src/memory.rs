//! The registry of a region, as a handle on the words of its tables.

use core::mem::size_of;

use memoffset::offset_of;

use shmem_core::mem::{StructWindow, Word};
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::{ControlWord, Corrupt, Region, Window};

use crate::error::{MayNotChange, RegistryError};
use crate::geometry::{Geometry, TableLayout};
use crate::layout::{RegistryHeader, Row, REGISTRY};
use crate::link::Link;

/// Bit 0 of a row's state: the row names a segment.
pub(crate) const NAMED: u32 = 1;

/// How a handle may access the memory.
// A word, because a byte among words makes processors without unaligned access copy all of the
// handle by bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Access {
    /// Also by compare-and-swap.
    All,
    LoadsAndStores,
}

/// The registry of a region.
#[derive(Clone, Copy)]
pub struct Registry<'m> {
    region: Region<'m>,
    pub(crate) layout: TableLayout,
    access: Access,
}

impl<'m> Registry<'m> {
    /// Creates an empty registry in a region that was just formatted.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Geometry`] if the geometry is out of range, [`RegistryError::TooShort`] if
    /// the region is too short for it, [`RegistryError::Exists`] if the region has a registry. The
    /// region is unchanged.
    pub fn format(region: Region<'m>, geometry: Geometry) -> Result<Self, RegistryError> {
        let memory = region.memory();
        let word = geometry.encode()?;
        let layout = TableLayout::new(geometry, memory.len())?;
        // relaxed: only one partition formats, and no other data depends on the word.
        if Self::geometry_word(&memory).load(Relaxed) != 0 {
            return Err(RegistryError::Exists);
        }
        // The tables are zero since the region was formatted, which means empty.
        // relaxed: no other data depends on the word; the zeroes were published with the region.
        Self::geometry_word(&memory).store(word, Relaxed);
        Ok(Self::new(region, layout))
    }

    /// Attaches to the registry of a region.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFormatted`] if the region has no registry, [`RegistryError::Corrupt`] if
    /// its geometry is invalid, [`RegistryError::TooShort`] if the region is too short for it.
    pub fn attach(region: Region<'m>) -> Result<Self, RegistryError> {
        let memory = region.memory();
        // relaxed: as in `format`.
        let value = Self::geometry_word(&memory).load(Relaxed);
        if value == 0 {
            return Err(RegistryError::NotFormatted);
        }
        let geometry = Geometry::decode(value).ok_or(RegistryError::Corrupt(Corrupt {
            word: ControlWord::RegistryGeometry,
            value,
        }))?;
        let layout = TableLayout::new(geometry, memory.len())?;
        Ok(Self::new(region, layout))
    }

    fn new(region: Region<'m>, layout: TableLayout) -> Self {
        Self {
            region,
            layout,
            access: Access::All,
        }
    }

    /// Returns a handle for memory on which compare-and-swap does not work, or does not work across
    /// partitions. The handle opens segments, but does not create, remove or reap them.
    /// `shmem_sync::litmus` tests whether compare-and-swap works.
    #[must_use]
    pub fn without_read_modify_write(self) -> Self {
        Self {
            access: Access::LoadsAndStores,
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

    /// Returns an error if this handle may not change the table, or the region was formatted again.
    pub(crate) fn check_may_change(&self) -> Result<(), MayNotChange> {
        if self.access == Access::LoadsAndStores {
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

    /// Returns the sizes that the registry was formatted with.
    pub fn geometry(&self) -> Geometry {
        self.layout.geometry
    }

    #[inline]
    pub(crate) fn row(&self, row: usize, field: usize) -> Word<'m> {
        self.row_window(row).word(field)
    }

    /// Returns a whole row, so that its bounds are checked once for all its words.
    #[cfg_attr(not(feature = "small"), inline)]
    #[cfg_attr(feature = "small", inline(never))]
    pub(crate) fn row_window(&self, row: usize) -> StructWindow<'m, Row> {
        StructWindow::at(self.memory(), self.row_at(row))
    }

    #[inline]
    pub(crate) fn row_at(&self, row: usize) -> usize {
        self.layout.rows + row * size_of::<Row>()
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

    /// Returns the identifier in a row, whatever the row is used for.
    #[inline]
    pub(crate) fn id_in(&self, row: usize) -> u64 {
        // relaxed: `generation_matches` checks that it belongs to the use that the caller means
        // (C4). What an owner reads only an owner stored.
        let load = |field| self.row(row, field).load(Relaxed);
        let high = load(offset_of!(Row, id_high));
        u64::from(high) << 32 | u64::from(load(offset_of!(Row, id_low)))
    }

    #[inline]
    pub(crate) fn bucket_word(&self, bucket: usize) -> Word<'m> {
        self.memory().word(self.layout.index + bucket * 4)
    }
}
