//! The offsets of the tables and of the blocks of a registry, computed from three numbers and the
//! region's length.
//!
//! Every partition computes them from one word that it reads once, so it takes no offset from
//! shared memory.

use core::mem::size_of;

use shmem_core::layout::LINE;

use crate::error::RegistryError;
use crate::layout::{PartitionSlot, Row, PARTITIONS};

/// The sizes of a registry, fixed when it is formatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// The most segments: a power of two from 2 to 2^16.
    pub segments: usize,
    /// The most partitions that can attach: 1 to 128. Their numbers start at 1.
    pub partitions: usize,
    /// Bytes of a block, the unit of allocation: a power of two from 128 to 1 MiB.
    pub block_size: usize,
}

impl Default for Geometry {
    /// 64 segments, 64 partitions, blocks of 128 bytes: for regions up to a few MiB.
    fn default() -> Self {
        Self {
            segments: 64,
            partitions: 64,
            block_size: LINE,
        }
    }
}

/// Set in every geometry word, so that no geometry word is zero.
const PRESENT: u32 = 1 << 31;

impl Geometry {
    pub(crate) fn encode(self) -> Result<u32, RegistryError> {
        let valid = self.segments.is_power_of_two()
            && (2..=1 << 16).contains(&self.segments)
            && (1..=128).contains(&self.partitions)
            && self.block_size.is_power_of_two()
            && (LINE..=1 << 20).contains(&self.block_size);
        if !valid {
            return Err(RegistryError::Geometry);
        }
        let segments = self.segments.trailing_zeros();
        let block = self.block_size.trailing_zeros();
        Ok(PRESENT | segments << 16 | block << 8 | self.partitions as u32)
    }

    pub(crate) fn decode(word: u32) -> Option<Self> {
        let shift = |at: u32| 1_usize.checked_shl(word >> at & 0xff);
        let geometry = Self {
            segments: 1_usize.checked_shl(word >> 16 & 0x7fff)?,
            partitions: (word & 0xff) as usize,
            block_size: shift(8)?,
        };
        (geometry.encode() == Ok(word)).then_some(geometry)
    }
}

/// Offsets from the region's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableLayout {
    pub(crate) geometry: Geometry,
    pub(crate) index: usize,
    pub(crate) rows: usize,
    pub(crate) map: usize,
    pub(crate) data: usize,
    pub(crate) blocks: usize,
    /// By how many bits the hash of an identifier is shifted to number its bucket.
    pub(crate) hash_shift: u32,
}

impl TableLayout {
    pub(crate) fn new(geometry: Geometry, len: usize) -> Result<Self, RegistryError> {
        let index = PARTITIONS + geometry.partitions * size_of::<PartitionSlot>();
        let rows = index + Self::index_len(geometry) * size_of::<u32>();
        let map = rows + geometry.segments * size_of::<Row>();
        let block = geometry.block_size;
        // Each block takes its own bytes and a word in the map. The alignment of `data` may take
        // the space of one more.
        let left = len.saturating_sub(map);
        let mut blocks = (left / (block + size_of::<u32>())).min(u32::MAX as usize);
        let data = |blocks: usize| (map + blocks * size_of::<u32>()).next_multiple_of(block);
        while blocks != 0 && data(blocks) + blocks * block > len {
            blocks -= 1;
        }
        if blocks == 0 {
            return Err(RegistryError::TooShort { len, tables: map });
        }
        Ok(Self {
            geometry,
            index,
            rows,
            map,
            data: data(blocks),
            blocks,
            hash_shift: 64 - Self::index_len(geometry).trailing_zeros(),
        })
    }

    /// Returns the number of buckets of the index: twice the rows, so that most hold at most one.
    pub(crate) fn index_len(geometry: Geometry) -> usize {
        geometry.segments * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_decodes_to_the_geometry_that_encodes_to_it_or_to_none() {
        let geometry = Geometry {
            segments: 1 << 16,
            partitions: 64,
            block_size: 4096,
        };
        let word = geometry.encode().unwrap();
        assert_eq!(Geometry::decode(word), Some(geometry));
        for bit in 0..32 {
            let other = Geometry::decode(word ^ 1 << bit);
            assert!(other.map_or(true, |other| other.encode() == Ok(word ^ 1 << bit)));
        }
        assert_eq!(Geometry::decode(0), None);
        assert_eq!(Geometry::decode(u32::MAX), None);
    }

    #[test]
    fn the_blocks_lie_inside_the_region_after_the_map() {
        for len in (10_000..40_000).step_by(8) {
            let Ok(layout) = TableLayout::new(Geometry::default(), len) else {
                continue;
            };
            assert!(layout.data >= layout.map + 4 * layout.blocks);
            assert!(layout.data + layout.blocks * 128 <= len);
        }
    }
}
