//! Who is attached to a region, and whether it lives.
//!
//! - **P1** A partition's slot is written by that partition alone.
//! - **P2** `incarnation` is stored before `state` says attached.
//!
//! | store                       | paired load            | hands over        |
//! |-----------------------------|------------------------|-------------------|
//! | `state` in `attach`         | `state` in `look`      | the incarnation   |

use memoffset::offset_of;

use shmem_core::layout::LINE;
use shmem_core::primitive::Ordering::{Acquire, Relaxed, Release};
use shmem_core::Window;

use crate::layout::{PartitionSlot, PARTITIONS};

const ATTACHED: u32 = 1;
const LEFT: u32 = 2;

fn slot<'m>(memory: &Window<'m>, partition: u8) -> Window<'m> {
    let offset = PARTITIONS + (usize::from(partition) - 1) * LINE;
    memory
        .sub(offset, LINE)
        .expect("a slot's number is checked by the registry")
}

/// A partition's own presence in a region; dropped, it has left.
pub struct Presence<'m> {
    slot: Window<'m>,
    incarnation: u32,
    heartbeat: u32,
}

impl<'m> Presence<'m> {
    pub(crate) fn attach(memory: &Window<'m>, partition: u8) -> Self {
        let slot = slot(memory, partition);
        let load = |offset| slot.word(offset).load(Relaxed);
        let incarnation = load(offset_of!(PartitionSlot, incarnation)).wrapping_add(1);
        let heartbeat = load(offset_of!(PartitionSlot, heartbeat)).wrapping_add(1);
        slot.word(offset_of!(PartitionSlot, incarnation))
            .store(incarnation, Relaxed);
        slot.word(offset_of!(PartitionSlot, heartbeat))
            .store(heartbeat, Relaxed);
        // Pairs with the load in `Partition::look` (P2).
        slot.word(offset_of!(PartitionSlot, state))
            .store(ATTACHED, Release); // loom: loom_registry
        Self {
            slot,
            incarnation,
            heartbeat,
        }
    }

    /// Which life of the partition this is, from 1.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Shows that the partition lives. Call it more often than peers look.
    pub fn beat(&mut self) {
        self.heartbeat = self.heartbeat.wrapping_add(1);
        self.slot
            .word(offset_of!(PartitionSlot, heartbeat))
            .store(self.heartbeat, Relaxed);
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.slot
            .word(offset_of!(PartitionSlot, state))
            .store(LEFT, Relaxed);
    }
}

/// What a partition's slot says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Whether it is attached and has not left. One that was killed did not leave.
    pub attached: bool,
    /// Counts its lives; 0 is never attached.
    pub incarnation: u32,
    /// Moves while it lives; only a difference means anything.
    pub heartbeat: u32,
}

impl Partition {
    pub(crate) fn look(memory: &Window<'_>, partition: u8) -> Self {
        let slot = slot(memory, partition);
        // Pairs with the store in `Presence::attach` (P2).
        let state = slot.word(offset_of!(PartitionSlot, state)).load(Acquire); // loom: loom_registry
        let load = |offset| slot.word(offset).load(Relaxed);
        Self {
            attached: state == ATTACHED,
            incarnation: load(offset_of!(PartitionSlot, incarnation)),
            heartbeat: load(offset_of!(PartitionSlot, heartbeat)),
        }
    }
}
