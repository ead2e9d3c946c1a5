//! Offsets of the locks and of the litmus in their segments; `docs/layout.md` is the
//! specification.
//!
//! Zeroed memory is an unlocked lock, a semaphore without permits, a barrier that no partition has
//! passed, and a litmus that no partition has run.

use shmem_core::layout::LINE;

/// The control line before the bytes that a mutex protects.
#[repr(C)]
pub struct MutexControl {
    /// 0, or the incarnation that holds the mutex; bit 31 is set if a partition may sleep for it.
    pub owner: u32,
    /// State of the bytes: see [`crate::health`].
    pub health: u32,
    /// What the mutex protects: see [`crate::Shape`].
    pub protects: u32,
    /// Zero.
    pub reserved: [u32; 29],
}

/// Partitions that can share a bakery mutex: numbers 1 to this.
pub const BAKERY_PARTITIONS: usize = 64;

/// The control block before the bytes that a bakery mutex protects.
#[repr(C)]
pub struct BakeryControl {
    /// 0, or the incarnation that holds the mutex, which alone writes it.
    pub holder: u32,
    /// State of the bytes: see [`crate::health`].
    pub health: u32,
    /// Colour of the tickets that are drawn now, 0 or 1; only the holder writes it.
    pub colour: u32,
    /// Zero.
    pub reserved: [u32; 29],
    /// One for each partition; entry *n* - 1 belongs to partition *n*, which alone writes it.
    pub entries: [BakeryEntry; BAKERY_PARTITIONS],
    /// What the mutex protects, as each partition has declared it: see [`crate::Shape`].
    pub protects: [u32; BAKERY_PARTITIONS],
}

/// A partition's entry in a bakery mutex.
#[repr(C)]
pub struct BakeryEntry {
    /// The incarnation that drew the ticket.
    pub incarnation: u32,
    /// 0: no ticket. Bit 0: it is being drawn; bit 1: its colour; bits 2 to 31: its number.
    pub ticket: u32,
}

/// The most permits of a semaphore.
pub const PERMITS: usize = 1024;

/// The word of a free permit: no incarnation has the word 1.
pub const PERMIT_FREE: u32 = 1;

/// The control line before a semaphore's places, which are one [`SemaphorePlace`] for each permit.
#[repr(C)]
pub struct SemaphoreControl {
    /// Changed by the partition that releases a permit for which another may sleep.
    pub ring_count: u32,
    /// Zero.
    pub reserved: [u32; 31],
}

/// A place for one permit of a semaphore.
#[repr(C)]
pub struct SemaphorePlace {
    /// 0 if there is no permit; or [`PERMIT_FREE`]; or the incarnation that holds it. With 0 or an
    /// incarnation, bit 31 is set if a partition may sleep for it.
    pub permit: u32,
    /// 0, or the incarnation that is about to add a permit here.
    pub adder: u32,
}

/// The most readers under one lock at a time.
pub const READERS: usize = 128;

/// The control block before the bytes that a reader-writer lock protects.
#[repr(C)]
pub struct RwLockControl {
    /// 0, or the incarnation that writes or waits for the readers to leave; bit 31 is set if a
    /// partition may sleep for it.
    pub writer: u32,
    /// State of the bytes: see [`crate::health`].
    pub health: u32,
    /// 0, or the incarnation that holds the lock for writing, which alone writes it.
    pub writing: u32,
    /// What the lock protects: see [`crate::Shape`].
    pub protects: u32,
    /// Zero.
    pub reserved: [u32; 28],
    /// 0, or an incarnation that reads.
    pub readers: [u32; READERS],
}

/// The control line before a barrier's entries. Entry *n* - 1 belongs to partition *n*, which alone
/// writes it.
#[repr(C)]
pub struct BarrierControl {
    /// The last complete phase; a partition that finds it complete when it arrives stores it.
    pub phase: u32,
    /// Changed by a partition that finds a phase complete while another may sleep: the low 24 bits
    /// of the phase, and above them the number of the partition.
    pub ring_count: u32,
    /// Zero.
    pub reserved: [u32; 30],
}

/// A partition's arrival at a barrier.
#[repr(C)]
pub struct BarrierEntry {
    /// The incarnation that arrived; bit 31 is set if it may sleep.
    pub incarnation: u32,
    /// The last phase at which it arrived, from 1; 0 if it has not arrived yet.
    pub arrived: u32,
}

/// The most rounds of a batch of a litmus.
pub const LITMUS_ROUNDS: usize = 256;

/// A litmus test. The upper half of every word is the number of the test run.
#[repr(C)]
pub struct LitmusControl {
    /// The number of rounds of a batch, in the run that is asked for.
    pub asked: u32,
    /// The step that the asker has reached; `0xffff` if it has ended.
    pub asker_step: u32,
    /// A finding of the asker: the number of rounds of each party.
    pub rounds: u32,
    /// A finding of the asker: the number of additions that were lost.
    pub lost: u32,
    /// A finding of the asker: the number of rounds in which neither party saw the other.
    pub violations: u32,
    /// A finding of the asker: 1 if both parties ran at the same time often enough, else 0.
    pub enough: u32,
    /// Zero.
    pub asker_reserved: [u32; 26],
    /// The step that the answerer has reached; `0xffff` if it has ended.
    pub answerer_step: u32,
    /// Zero.
    pub answerer_reserved: [u32; 31],
    /// Both parties add to this word.
    pub count: u32,
    /// Zero.
    pub count_reserved: [u32; 31],
    /// The asker's round.
    pub asker_flag: u32,
    /// Zero.
    pub asker_flag_reserved: [u32; 31],
    /// The answerer's round.
    pub answerer_flag: u32,
    /// Zero.
    pub answerer_flag_reserved: [u32; 31],
    /// The round of the answerer that the asker saw, for each round of a batch.
    pub asker_saw: [u32; LITMUS_ROUNDS],
    /// The round of the asker that the answerer saw.
    pub answerer_saw: [u32; LITMUS_ROUNDS],
}

const _: () = {
    use core::mem::size_of;
    assert!(size_of::<MutexControl>() == LINE);
    assert!(size_of::<BakeryControl>() == LINE + 512 + 256);
    assert!(size_of::<SemaphoreControl>() == LINE);
    assert!(size_of::<SemaphorePlace>() == 8);
    assert!(size_of::<RwLockControl>() == LINE + 512);
    assert!(size_of::<BarrierControl>() == LINE);
    assert!(size_of::<BarrierEntry>() == 8);
    assert!(size_of::<LitmusControl>() == 5 * LINE + 2048);
};
