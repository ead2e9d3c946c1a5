//! Offsets of the locks and of the litmus in their segments; `docs/layout.md` is the
//! specification.
//!
//! Zeroed memory is an unlocked lock, a semaphore of no permits, a barrier that nobody
//! has passed, and a litmus that nobody has asked for.

use shmem_core::layout::LINE;

/// What stands in front of the bytes that a mutex protects.
#[repr(C)]
pub struct MutexControl {
    /// 0, or the incarnation that holds the mutex; bit 31 if somebody may sleep for it.
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

/// What stands in front of the bytes that a bakery mutex protects.
#[repr(C)]
pub struct BakeryControl {
    /// 0, or the incarnation that is inside; only who is inside writes it.
    pub holder: u32,
    /// State of the bytes: see [`crate::health`].
    pub health: u32,
    /// Colour of the tickets that are drawn now, 0 or 1; only who is inside writes it.
    pub colour: u32,
    /// Zero.
    pub reserved: [u32; 29],
    /// One for each partition; entry *n* - 1 is partition *n*'s, and only it writes it.
    pub entries: [BakeryEntry; BAKERY_PARTITIONS],
    /// What the mutex protects, as each partition has declared it: see [`crate::Shape`].
    pub protects: [u32; BAKERY_PARTITIONS],
}

/// A partition's place in a bakery.
#[repr(C)]
pub struct BakeryEntry {
    /// The incarnation that drew the ticket.
    pub incarnation: u32,
    /// 0 none; bit 0 it is being drawn; bit 1 its colour; bits 2 to 31 its number.
    pub ticket: u32,
}

/// Permits of a semaphore, at most.
pub const PERMITS: usize = 1024;

/// The word of a permit that nobody holds: no incarnation is 1.
pub const PERMIT_FREE: u32 = 1;

/// The control line in front of a semaphore's places, one [`SemaphorePlace`] each.
#[repr(C)]
pub struct SemaphoreControl {
    /// Changed by who gives a permit back while somebody may sleep.
    pub rings: u32,
    /// Zero.
    pub reserved: [u32; 31],
}

/// A place for one permit of a semaphore.
#[repr(C)]
pub struct SemaphorePlace {
    /// 0 is no permit, or [`PERMIT_FREE`], or the incarnation that holds it; bit 31 of the
    /// first and last if somebody may sleep for it.
    pub permit: u32,
    /// 0, or the incarnation that is about to add a permit here.
    pub adder: u32,
}

/// Partitions that can read under one lock at a time.
pub const READERS: usize = 128;

/// What stands in front of the bytes that a reader-writer lock protects.
#[repr(C)]
pub struct RwLockControl {
    /// 0, or the incarnation that writes or waits for the readers to leave; bit 31 if
    /// somebody may sleep for it.
    pub writer: u32,
    /// State of the bytes: see [`crate::health`].
    pub health: u32,
    /// 0, or the incarnation that is inside as the writer; only the writer writes it.
    pub writing: u32,
    /// What the lock protects: see [`crate::Shape`].
    pub protects: u32,
    /// Zero.
    pub reserved: [u32; 28],
    /// 0, or an incarnation that reads.
    pub readers: [u32; READERS],
}

/// The control line in front of a barrier's entries; entry *n* - 1 is partition
/// *n*'s, and only it writes it.
#[repr(C)]
pub struct BarrierControl {
    /// The last phase that was complete; who sees that on arrival stores it.
    pub phase: u32,
    /// Changed by who sees a phase complete while somebody may sleep: the low 24 bits
    /// of the phase, and above them the number of the partition.
    pub rings: u32,
    /// Zero.
    pub reserved: [u32; 30],
}

/// A partition's arrival at a barrier.
#[repr(C)]
pub struct BarrierEntry {
    /// The incarnation that arrived; bit 31 if it may sleep.
    pub incarnation: u32,
    /// The last phase it arrived at, from 1; 0 is none yet.
    pub arrived: u32,
}

/// Rounds of a batch of a litmus, at most.
pub const LITMUS_ROUNDS: usize = 256;

/// A litmus. The upper half of every word is the number of its session.
#[repr(C)]
pub struct LitmusControl {
    /// How many rounds a batch has; its session is the one that is asked for.
    pub asked: u32,
    /// How far the asker has come; `0xffff` if it has ended.
    pub asker_step: u32,
    /// What the asker has found: rounds of each party,
    pub rounds: u32,
    /// additions that were lost,
    pub lost: u32,
    /// rounds in which neither party saw the other,
    pub violations: u32,
    /// and 1 if both ran at the same time often enough.
    pub enough: u32,
    /// Zero.
    pub asker_reserved: [u32; 26],
    /// How far the answerer has come; `0xffff` if it has ended.
    pub answerer_step: u32,
    /// Zero.
    pub answerer_reserved: [u32; 31],
    /// To this both add.
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
    /// Which of the answerer's rounds the asker saw, in each round of a batch.
    pub asker_saw: [u32; LITMUS_ROUNDS],
    /// Which of the asker's rounds the answerer saw.
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
