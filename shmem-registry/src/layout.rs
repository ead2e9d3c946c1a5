//! Offsets of the registry in a region; `docs/layout.md` is the specification.

use shmem_core::layout::LINE;

/// Where the registry's header starts: after the region's header.
pub const REGISTRY: usize = LINE;

/// Where the partition slots start.
pub const PARTITIONS: usize = REGISTRY + LINE;

/// The registry's header.
#[repr(C)]
pub struct RegistryHeader {
    /// The three numbers of [`crate::Geometry`]; 0 if there is no registry.
    pub geometry: u32,
    /// Block at which a search for free blocks starts. Probably no block before it is free.
    pub block_hint: u32,
    /// Row at which a search for a free row starts: the row after the one that was taken last.
    pub row_hint: u32,
    /// Zero.
    pub reserved: [u32; 29],
}

/// One partition's slot; only that partition writes it.
#[repr(C)]
pub struct PartitionSlot {
    /// 0 if it never attached; else its incarnation, with bit 31 set if it left.
    pub incarnation: u32,
    /// Changes while the partition runs.
    pub heartbeat: u32,
    /// Identifies the kernel and the namespaces of the process number; 0 if unknown.
    pub process_namespace: u32,
    /// The number of its process there.
    pub process: u32,
    /// When that process started, low 32 bits.
    pub process_start: u32,
    /// Distinguishes the programs that one process runs one after the other; 0 if unknown.
    pub process_image: u32,
    /// Zero.
    pub reserved: [u32; 26],
}

/// One segment's row.
#[repr(C)]
pub struct Row {
    /// The incarnation that creates or removes the segment; 0 if none does.
    pub owner: u32,
    /// Bit 0: the row names a segment. Bits 1 to 31: its generation, which each use increments.
    pub state: u32,
    /// The next row of the same bucket, as a link; see `docs/layout.md`.
    pub next: u32,
    /// What the segment holds.
    pub kind: u32,
    /// The identifier, low half.
    pub id_low: u32,
    /// The identifier, high half.
    pub id_high: u32,
    /// Number of the first block.
    pub first_block: u32,
    /// The segment's length in bytes.
    pub length: u32,
    /// Name, padded with zeroes; empty if the segment has none.
    pub name: [u8; 32],
}

const _: () = {
    use core::mem::size_of;
    assert!(size_of::<RegistryHeader>() == LINE);
    assert!(size_of::<PartitionSlot>() == LINE);
    assert!(size_of::<Row>() == 64);
};
