//! Offsets and constants of the memory layout, version [`VERSION`].
//!
//! `docs/layout.md` is the specification: which partition writes each word, when, with
//! which barrier. `shmem-registry/tests/layout.rs` checks that document against this module.
//! All words are little-endian; all offsets are bytes.

/// Version of the layout; a partition that does not know it must not attach.
pub const VERSION: u32 = 5;

/// Bytes between words of different writers: two cache lines of 64 bytes, because processors fetch
/// lines in pairs, or one cache line of 128 bytes.
pub const LINE: usize = 128;

/// First word of a region: the bytes `S H M R`.
pub const MAGIC: u32 = u32::from_le_bytes(*b"SHMR");

/// The header at the start of a region.
#[repr(C)]
pub struct RegionHeader {
    /// [`MAGIC`]; stored last.
    pub magic: u32,
    /// [`VERSION`].
    pub version: u32,
    /// Features that a partition must support to attach, one bit each.
    pub features: u32,
    /// One more than before each time the memory is formatted, but never 0.
    pub generation: u32,
    /// Bytes of the region, low half.
    pub length_low: u32,
    /// Bytes of the region, high half.
    pub length_high: u32,
    /// Zero.
    pub reserved: [u32; 26],
}

/// The control block before a ring's data: two lines for each end.
///
/// The epoch of one end lies in the line of the other end, which loads it with every record.
#[repr(C)]
pub struct RingControl {
    /// Position after a published record; later records may follow.
    pub tail: u32,
    /// The incarnation that has the producing end, or that released it if bit 31 is set; 0 if
    /// it was never claimed.
    pub producer: u32,
    /// The epoch of the consuming end, 1 to 65535. The consumer stores it when it
    /// claims its end.
    pub consumer_epoch: u32,
    /// Zero.
    pub producer_reserved: [u32; 29],
    /// Position up to which the producer may reuse bytes; it may lag `position`.
    pub head: u32,
    /// The incarnation that has the consuming end, or that released it if bit 31 is set; 0 if
    /// it was never claimed.
    pub consumer: u32,
    /// The epoch of the producing end, 1 to 65535. The producer stores it when it
    /// claims its end.
    pub producer_epoch: u32,
    /// The number of records that consumers discarded because they were for another incarnation.
    pub discarded: u32,
    /// Zero.
    pub consumer_reserved: [u32; 12],
    /// Position of the first record not released, for the next incarnation that consumes. The
    /// producer loads nothing in these 64 bytes.
    pub position: u32,
    /// Zero.
    pub position_reserved: [u32; 15],
    /// Rung by the producer: there is a record.
    pub records: Bell,
    /// Rung by the consumer: there is space.
    pub space: Bell,
}

/// The control block before a typed ring's slots: lines for each end, which it alone writes.
///
/// Each array has four words, and an end stores only the word at its epoch modulo 4. A word that
/// has an epoch has it in bits 16 to 31, and a position modulo 2^16 in bits 0 to 15.
#[repr(C)]
pub struct TypedRingControl {
    /// The producer's epoch, and the position after its last record.
    pub tails: [u32; 4],
    /// The producer's epoch, and the position of its first record.
    pub producer_starts: [u32; 4],
    /// The epoch of the consumer that the producer knows, and the position of the first record
    /// for it.
    pub addressed: [u32; 4],
    /// The incarnation that has the producing end, or that released it if bit 31 is set; 0 if
    /// it was never claimed.
    pub producer: u32,
    /// Bytes of a record, stored by the producer; 0 before its first claim.
    pub producer_record_size: u32,
    /// Zero.
    pub producer_reserved: [u32; 18],
    /// The consumer's epoch, and the position up to which the producer may reuse slots.
    pub heads: [u32; 4],
    /// The incarnation that has the consuming end, or that released it if bit 31 is set; 0 if
    /// it was never claimed.
    pub consumer: u32,
    /// Bytes of a record, stored by the consumer; 0 before its first claim.
    pub consumer_record_size: u32,
    /// Zero.
    pub consumer_reserved: [u32; 10],
    /// The consumer's epoch, and the position of the first record not released. The producer
    /// loads nothing of these 64 bytes.
    pub positions: [u32; 4],
    /// The consumer's epoch, and in bits 0 to 15 that of the producer whose records it reads.
    pub known_producers: [u32; 4],
    /// The consumer's epoch, and in bits 0 to 15 the epoch of a producer. The consumer has found
    /// the first record of that producer which is for it. Only a consumer that discards uses it.
    pub accepted: [u32; 4],
    /// The number of records that this consumer and those before it discarded.
    pub discarded: [u32; 4],
    /// The consumer's epoch, and the position at which it began. The consumer stores to this
    /// line only when it claims its end, because the producer loads it with each record.
    pub consumer_starts: [u32; 4],
    /// Zero.
    pub starts_reserved: [u32; 28],
    /// Rung by the producer: there is a record.
    pub records: Bell,
    /// Rung by the consumer: there is space.
    pub space: Bell,
}

/// A doorbell.
#[repr(C)]
pub struct Bell {
    /// 1 while the sleeper must be rung to wake; only the sleeper writes it.
    pub armed: u32,
    /// How often the doorbell was rung, modulo 2^32; only the side that rings writes it.
    pub ring_count: u32,
    /// Zero.
    pub reserved: [u32; 30],
}

/// The control line before a snapshot's two slots.
#[repr(C)]
pub struct SnapshotControl {
    /// Number of the latest value; its parity selects the slot. 0 before the first value.
    pub sequence: u32,
    /// Zero.
    pub reserved: [u32; 31],
}

/// A call line: a command and its answer.
#[repr(C)]
pub struct CallControl {
    /// Number of the call; stored last.
    pub asked: u32,
    /// Bytes of the command.
    pub command_len: u32,
    /// The command.
    pub command: [u8; 24],
    /// Number of the answered call; stored last.
    pub answered: u32,
    /// Bytes of the answer; all bits set if the answer is not in the line.
    pub answer_len: u32,
    /// The answer.
    pub answer: [u8; 24],
    /// Zero.
    pub reserved: [u32; 16],
    /// Number of the last call that was made outside the line.
    pub started: u32,
    /// Zero.
    pub started_reserved: [u32; 15],
    /// Number of the last call of the line that a server received.
    pub received: u32,
    /// Zero.
    pub received_reserved: [u32; 15],
}

/// Bytes of the header before a record's payload, and before a snapshot slot's value.
pub const RECORD_HEADER: usize = 8;

/// Largest capacity of a ring, bytes.
pub const MAX_CAPACITY: usize = 1 << 30;

/// Largest number of slots of a typed ring; a power of two.
pub const MAX_SLOTS: usize = 1 << 15;

/// Smallest number of slots of a typed ring.
pub const MIN_SLOTS: usize = 2;

/// Bytes of the largest record of a typed ring.
pub const MAX_TYPED_RECORD: usize = 1 << 15;

/// Smallest capacity of a ring, bytes.
pub const MIN_CAPACITY: usize = 64;

const _: () = {
    use core::mem::size_of;

    use memoffset::offset_of;

    assert!(size_of::<RegionHeader>() == LINE);
    assert!(size_of::<RingControl>() == 4 * LINE);
    assert!(offset_of!(RingControl, position) == 192);
    assert!(size_of::<TypedRingControl>() == 5 * LINE);
    assert!(offset_of!(TypedRingControl, heads) == LINE);
    assert!(offset_of!(TypedRingControl, positions) == LINE + 64);
    assert!(size_of::<Bell>() == LINE);
    assert!(size_of::<SnapshotControl>() == LINE);
    assert!(offset_of!(CallControl, reserved) == 64);
    assert!(offset_of!(CallControl, received) == 192);
    assert!(size_of::<CallControl>() == 2 * LINE);
};
