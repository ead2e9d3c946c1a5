//! Offsets of the registry in a region; `docs/layout.md` is the specification.

use shmem_core::layout::LINE;

/// Where the registry's header starts: behind the region's.
pub const REGISTRY: usize = LINE;

/// Where the partition slots start.
pub const PARTITIONS: usize = REGISTRY + LINE;

/// The registry's header.
#[repr(C)]
pub struct RegistryHeader {
    /// The three numbers of [`crate::Geometry`]; 0 is no registry.
    pub geometry: u32,
    /// A block below which probably none is free; where a search starts.
    pub hint: u32,
    /// Zero.
    pub reserved: [u32; 30],
}

/// One partition's slot; only that partition writes it.
#[repr(C)]
pub struct PartitionSlot {
    /// 0 never attached, 1 attached, 2 left.
    pub state: u32,
    /// Counts the lives of the partition.
    pub incarnation: u32,
    /// Moves while the partition lives.
    pub heartbeat: u32,
    /// Zero.
    pub reserved: [u32; 29],
}

/// One segment's row.
#[repr(C)]
pub struct Row {
    /// Generation, partition and code; see `docs/layout.md`.
    pub state: u32,
    /// What the segment holds.
    pub kind: u32,
    /// The identifier, low half.
    pub id_low: u32,
    /// The identifier, high half.
    pub id_high: u32,
    /// Number of the first block.
    pub first_block: u32,
    /// How many blocks.
    pub blocks: u32,
    /// Bytes asked for.
    pub length: u32,
    /// Zero.
    pub reserved: u32,
    /// Name, padded with zeroes; empty if it was made without one.
    pub name: [u8; 32],
}

const _: () = {
    use core::mem::size_of;
    assert!(size_of::<RegistryHeader>() == LINE);
    assert!(size_of::<PartitionSlot>() == LINE);
    assert!(size_of::<Row>() == 64);
};
