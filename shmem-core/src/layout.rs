//! Offsets and constants of the memory layout, version [`VERSION`].
//!
//! `docs/layout.md` is the specification: who writes each word, when, with
//! which barrier. `shmem-registry/tests/layout.rs` holds that document against this module.
//! All words are little-endian; all offsets are bytes.

/// Version of the layout; a partition that does not know it must not attach.
pub const VERSION: u32 = 5;

/// Words of different writers are this far apart: two 64-byte lines, because
/// processors fetch lines in pairs, and one line of those with 128.
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
    /// Bits for what a partition must understand to attach.
    pub features: u32,
    /// How often the memory was formatted.
    pub generation: u32,
    /// Bytes of the region, low half.
    pub length_low: u32,
    /// Bytes of the region, high half.
    pub length_high: u32,
    /// Zero.
    pub reserved: [u32; 26],
}

/// The control block in front of a ring's data: two lines for each end.
///
/// An end's epoch lies in the other end's line, which looks at it with every record.
#[repr(C)]
pub struct RingControl {
    /// Position after a published record; lags behind the last one.
    pub tail: u32,
    /// The incarnation that produces, or that did if bit 31 is set; 0 is nobody yet.
    pub producer: u32,
    /// Counts the incarnations that consumed, 1 to 65535; stored by the consumer when it claims its
    /// end.
    pub consumer_epoch: u32,
    /// Zero.
    pub producer_reserved: [u32; 29],
    /// Position up to which bytes were given back to the producer; lags behind `position`.
    pub head: u32,
    /// The incarnation that consumes, or that did if bit 31 is set; 0 is nobody yet.
    pub consumer: u32,
    /// Counts the incarnations that produced, 1 to 65535; stored by the producer when it claims its
    /// end.
    pub producer_epoch: u32,
    /// Counts the records that consumers discarded because they were for another incarnation.
    pub discarded: u32,
    /// Zero.
    pub consumer_reserved: [u32; 12],
    /// Position of the first record not released, for the next incarnation that consumes. The
    /// producer does not load it, nor anything else in these 64 bytes.
    pub position: u32,
    /// Zero.
    pub position_reserved: [u32; 15],
    /// Rung by the producer: there is a record.
    pub records: Bell,
    /// Rung by the consumer: there is space.
    pub space: Bell,
}

/// The control block in front of a typed ring's slots: lines for each end, which it alone writes.
///
/// A word of four is one that an end stores in its epoch modulo 4. In a word with an epoch
/// this is in bits 16 to 31, and a position, modulo 2^16, in bits 0 to 15.
#[repr(C)]
pub struct TypedRingControl {
    /// The producer's epoch, and the position after its last record.
    pub tails: [u32; 4],
    /// The producer's epoch, and the position from which on records are its own.
    pub producer_starts: [u32; 4],
    /// The epoch of the consumer that the producer knows, and the position from which on
    /// records are for it.
    pub addressed: [u32; 4],
    /// The incarnation that produces, or that did if bit 31 is set; 0 is nobody yet.
    pub producer: u32,
    /// Bytes of a record, as the producer has it; 0 is not known yet.
    pub producer_record_size: u32,
    /// Zero.
    pub producer_reserved: [u32; 18],
    /// The consumer's epoch, and the position up to which slots were given back.
    pub heads: [u32; 4],
    /// The incarnation that consumes, or that did if bit 31 is set; 0 is nobody yet.
    pub consumer: u32,
    /// Bytes of a record, as the consumer has it; 0 is not known yet.
    pub consumer_record_size: u32,
    /// Zero.
    pub consumer_reserved: [u32; 10],
    /// The consumer's epoch, and the position of the first record not released. The producer
    /// loads nothing of these 64 bytes.
    pub positions: [u32; 4],
    /// The consumer's epoch, and in bits 0 to 15 that of the producer whose records it reads.
    pub known_producers: [u32; 4],
    /// The consumer's epoch, and in bits 0 to 15 that of the producer of whose records it has
    /// found the first one that is for it, where it discards the others.
    pub accepted: [u32; 4],
    /// Counts the records that consumers discarded, this one and those before it.
    pub discarded: [u32; 4],
    /// The consumer's epoch, and the position at which it began. The consumer stores nothing in
    /// this line when it works, since the producer looks at it with each record.
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
    /// 1 while the sleeper wants to be rung; only the sleeper writes it.
    pub armed: u32,
    /// Counts the rings; only the ringer writes it.
    pub rings: u32,
    /// Zero.
    pub reserved: [u32; 30],
}

/// The control line in front of a snapshot's two slots.
#[repr(C)]
pub struct SnapshotControl {
    /// Number of the latest value; its parity names the slot. 0 is none yet.
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
    /// Number of the call that is answered; stored last.
    pub answered: u32,
    /// Bytes of the answer; all bits set: it is elsewhere.
    pub answer_len: u32,
    /// The answer.
    pub answer: [u8; 24],
    /// Zero.
    pub reserved: [u32; 16],
    /// Number of the last call that was made in another way.
    pub started: u32,
    /// Zero.
    pub started_reserved: [u32; 15],
    /// Number of the last call of the line that a server received.
    pub received: u32,
    /// Zero.
    pub received_reserved: [u32; 15],
}

/// What stands in front of a record's payload, and of a snapshot slot's.
pub const RECORD_HEADER: usize = 8;

/// Largest capacity of a ring, bytes.
pub const MAX_CAPACITY: usize = 1 << 30;

/// Most slots of a typed ring; a power of two.
pub const MAX_SLOTS: usize = 1 << 15;

/// Fewest slots of a typed ring.
pub const MIN_SLOTS: usize = 2;

/// Bytes of a typed ring's largest record.
pub const MAX_TYPED_RECORD: usize = 1 << 15;

/// Smallest capacity of a ring, bytes.
pub const MIN_CAPACITY: usize = 64;

const _: () = {
    use core::mem::size_of;
    assert!(size_of::<RegionHeader>() == LINE);
    assert!(size_of::<RingControl>() == 4 * LINE);
    assert!(core::mem::offset_of!(RingControl, position) == 192);
    assert!(size_of::<TypedRingControl>() == 5 * LINE);
    assert!(core::mem::offset_of!(TypedRingControl, heads) == LINE);
    assert!(core::mem::offset_of!(TypedRingControl, positions) == LINE + 64);
    assert!(size_of::<Bell>() == LINE);
    assert!(size_of::<SnapshotControl>() == LINE);
    assert!(core::mem::offset_of!(CallControl, reserved) == 64);
    assert!(core::mem::offset_of!(CallControl, received) == 192);
    assert!(size_of::<CallControl>() == 2 * LINE);
};
