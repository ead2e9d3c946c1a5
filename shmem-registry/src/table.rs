//! The registry: who is there, and which segment an identifier names.
//!
//! What it stores when a segment is created, and in which order, is in
//! `create`'s invariants T1 to T4. Looking only loads: everything
//! loaded is checked against `Places`, which each partition computed for
//! itself, and every walk is bounded by the tables.

use memoffset::offset_of;

use shmem_core::mem::Word;
use shmem_core::primitive::Ordering::{Acquire, Relaxed};
use shmem_core::{Corrupt, Region, Window};

use crate::alloc::Blocks;
use crate::create::state;
use crate::error::{FormatError, OpenError};
use crate::geometry::{Geometry, Places};
use crate::id::{Id, Kind, Name, Request};
use crate::layout::{RegistryHeader, Row, REGISTRY};
use crate::partition::{Partition, Presence};
use crate::segment::Segment;

/// The registry of a region.
#[derive(Clone, Copy)]
pub struct Registry<'m> {
    pub(crate) memory: Window<'m>,
    pub(crate) places: Places,
}

/// Where an identifier belongs in the index.
pub(crate) enum Entry<'m> {
    /// It is there.
    Found(Segment<'m>),
    /// It is not; this entry is the first empty one.
    Empty(Word<'m>),
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
        Ok(Self { memory, places })
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
            word: "registry geometry",
            value,
        }))?;
        let places = Places::of(geometry, memory.len())?;
        Ok(Self { memory, places })
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

    /// Announces `partition` to the others, as a new life of it.
    ///
    /// # Errors
    ///
    /// [`OpenError::NoSuchPartition`] if there is no slot for it.
    pub fn attach_partition(&self, partition: u8) -> Result<Presence<'m>, OpenError> {
        self.check_partition(partition)?;
        Ok(Presence::attach(&self.memory, partition))
    }

    /// What is known of `partition`.
    ///
    /// # Errors
    ///
    /// [`OpenError::NoSuchPartition`] if there is no slot for it.
    pub fn partition(&self, partition: u8) -> Result<Partition, OpenError> {
        self.check_partition(partition)?;
        Ok(Partition::look(&self.memory, partition))
    }

    pub(crate) fn check_partition(&self, partition: u8) -> Result<(), OpenError> {
        let number = usize::from(partition);
        if number == 0 || number > self.places.geometry.partitions {
            return Err(OpenError::NoSuchPartition { partition });
        }
        Ok(())
    }

    /// Finds the segment of `id`. Only loads; O(1).
    ///
    /// # Errors
    ///
    /// [`OpenError::NotFound`], or [`OpenError::Corrupt`].
    #[inline]
    pub fn lookup(&self, id: Id) -> Result<Segment<'m>, OpenError> {
        match self.find(id)? {
            Entry::Found(segment) => Ok(segment),
            Entry::Empty(_) => Err(OpenError::NotFound),
        }
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

    /// Every segment there is; one that is created meanwhile may be missing.
    pub fn segments(&self) -> impl Iterator<Item = Result<Segment<'m>, Corrupt>> {
        let registry = *self;
        (0..=self.places.index_mask()).filter_map(move |entry| {
            // Pairs with the exchange in `install`.
            let value = registry.entry(entry).load(Acquire); // loom: none (the same load as in find)
            (value != 0).then(|| {
                let row = registry.row_of(value)?;
                let load = |field| registry.row(row, field).load(Relaxed);
                let high = load(offset_of!(Row, id_high));
                let id = u64::from(high) << 32 | u64::from(load(offset_of!(Row, id_low)));
                let corrupt = Corrupt {
                    word: "row identifier",
                    value: row as u32,
                };
                registry.segment(row, Id::new(id).ok_or(corrupt)?)
            })
        })
    }

    pub(crate) fn blocks(&self) -> Blocks<'m> {
        Blocks::new(self.memory, self.places)
    }

    #[inline]
    fn entry(&self, entry: usize) -> Word<'m> {
        self.memory.word(self.places.index + entry * 4)
    }

    #[inline]
    pub(crate) fn row(&self, row: usize, field: usize) -> Word<'m> {
        self.memory.word(self.row_at(row) + field)
    }

    #[inline]
    pub(crate) fn row_at(&self, row: usize) -> usize {
        self.places.rows + row * core::mem::size_of::<Row>()
    }

    /// First entry of an identifier's probe sequence, and the tag that its entries carry.
    #[inline]
    pub(crate) fn start(&self, id: Id) -> (usize, u32) {
        let hash = id.hash();
        let entry = (hash >> (64 - self.places.index_bits())) as usize;
        (entry, (hash as u32 & 0xff) << 24)
    }

    #[inline]
    fn row_of(&self, entry: u32) -> Result<usize, Corrupt> {
        let row = (entry & 0xff_ffff).wrapping_sub(1) as usize;
        if row >= self.places.geometry.segments {
            return Err(Corrupt {
                word: "index entry",
                value: entry,
            });
        }
        Ok(row)
    }

    /// Walks the probe sequence of `id` to its row or to the first empty entry.
    #[inline]
    pub(crate) fn find(&self, id: Id) -> Result<Entry<'m>, OpenError> {
        let (start, tag) = self.start(id);
        let (low, high) = id.halves();
        let mask = self.places.index_mask();
        let mut last = 0;
        for step in 0..=mask {
            let entry = self.entry((start + step) & mask);
            // Pairs with the exchange in `install`: row and segment are whole.
            let value = entry.load(Acquire); // loom: loom_registry
            if value == 0 {
                return Ok(Entry::Empty(entry));
            }
            last = value;
            if value & 0xff00_0000 != tag {
                continue;
            }
            let row = self.row_of(value).map_err(OpenError::Corrupt)?;
            let is = |field, half| self.row(row, field).load(Relaxed) == half;
            if is(offset_of!(Row, id_low), low) && is(offset_of!(Row, id_high), high) {
                let segment = self.segment(row, id).map_err(OpenError::Corrupt)?;
                return Ok(Entry::Found(segment));
            }
        }
        // Honest partitions fill no more than half.
        Err(OpenError::Corrupt(Corrupt {
            word: "index entry",
            value: last,
        }))
    }

    /// Reads the rest of a row that an entry names and that is `id`'s.
    fn segment(&self, row: usize, id: Id) -> Result<Segment<'m>, Corrupt> {
        let load = |field| self.row(row, field).load(Relaxed);
        let length = load(offset_of!(Row, length));
        let first = load(offset_of!(Row, first_block));
        let block = self.places.geometry.block;
        let offset = self.places.data + (first as usize).min(self.places.blocks) * block;
        let len = length as usize;
        let whole = len.checked_next_multiple_of(8).filter(|&len| len != 0);
        let window = whole.and_then(|len| self.memory.sub(offset, len).ok());
        let window = window.ok_or(Corrupt {
            word: "row length",
            value: length,
        })?;
        let mut name = [0; 32];
        let name_at = self.row_at(row) + offset_of!(Row, name);
        self.memory.read(name_at, &mut name); // T1
        Ok(Segment {
            window,
            offset,
            len,
            id,
            kind: Kind(load(offset_of!(Row, kind))),
            name: Name::from_bytes(name),
            generation: state::generation(load(offset_of!(Row, state))),
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
