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
    /// A row behind the last one taken; where a search for a free one starts.
    pub row_hint: u32,
    /// Zero.
    pub reserved: [u32; 29],
}

/// One partition's slot; only that partition writes it.
#[repr(C)]
pub struct PartitionSlot {
    /// 0 never attached; else its incarnation, with bit 31 set if it left.
    pub incarnation: u32,
    /// Moves while the partition lives.
    pub heartbeat: u32,
    /// Which kernel and namespace its process number is of; 0 is unknown.
    pub process_space: u32,
    /// Its process number there.
    pub process: u32,
    /// When that process started, low 32 bits.
    pub process_start: u32,
    /// Tells the programs that one process runs one after the other apart; 0 is unknown.
    pub process_image: u32,
    /// Zero.
    pub reserved: [u32; 26],
}

/// One segment's row.
#[repr(C)]
pub struct Row {
    /// The incarnation that works on the row, creating or removing; 0 is nobody.
    pub owner: u32,
    /// Bit 0: it names a segment. Bits 1 to 31: its generation, one more with every use.
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
    /// Bytes asked for.
    pub length: u32,
    /// Name, padded with zeroes; empty if it was made without one.
    pub name: [u8; 32],
}

const _: () = {
    use core::mem::size_of;
    assert!(size_of::<RegistryHeader>() == LINE);
    assert!(size_of::<PartitionSlot>() == LINE);
    assert!(size_of::<Row>() == 64);
};
