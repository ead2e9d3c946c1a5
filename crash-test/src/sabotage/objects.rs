//! Deliberate errors in each kind of object.

use std::mem::offset_of;

use shmem_core::layout::SnapshotControl;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_registry::layout::{PARTITIONS, PartitionSlot, Row};
use shmem_sync::layout::{
    BakeryControl, BarrierControl, BarrierEntry, MutexControl, RwLockControl, SemaphoreControl,
    SemaphorePlace,
};

use super::rings::{forget_position, forget_position_typed, forget_unread, forget_unread_typed};
use crate::actor::Sabotage;
use crate::incarnation::Incarnation;
use crate::memory::TestMemory;
use crate::scenario::Scenario;
use crate::scenarios::{
    ATTACH, BAKERY, BARRIER, MUTEX, REGISTRY, RING_RESULTS, RWLOCK, SEMAPHORE, SNAPSHOT,
    TYPED_RESULTS,
};

pub(super) static ALL: [&Scenario; 16] = [
    &Scenario {
        name: "forgetful-ring",
        about: "unread records of a dead producer or consumer are dropped",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, _| {
            forget_unread(&memory.object)
        })),
        ..RING_RESULTS
    },
    &Scenario {
        name: "repeating-ring",
        about: "records that a dead consumer had read, but not released, arrive again",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, _| {
            forget_position(&memory.object)
        })),
        // In a small ring each record is an eighth, and is released at once.
        shapes: &[4096],
        ..RING_RESULTS
    },
    &Scenario {
        name: "forgetful-typed-ring",
        about: "unread records of a dead producer or consumer are dropped",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, _| {
            forget_unread_typed(&memory.object)
        })),
        ..TYPED_RESULTS
    },
    &Scenario {
        name: "repeating-typed-ring",
        about: "records that a dead consumer had read, but not released, arrive again",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, _| {
            forget_position_typed(&memory.object)
        })),
        // In a small ring each record is an eighth, and is released at once.
        shapes: &[256],
        ..TYPED_RESULTS
    },
    &Scenario {
        name: "rash-typed-ring",
        about: "a silent producer's or consumer's end is taken from it",
        sabotage: Some(Sabotage::PresumeGone),
        ..TYPED_RESULTS
    },
    &Scenario {
        name: "forgetful-snapshot",
        about: "the value of a dead writer is lost",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, _| {
            clear(memory, offset_of!(SnapshotControl, sequence));
        })),
        ..SNAPSHOT
    },
    &Scenario {
        name: "free-rows",
        about: "a dead owner's row is treated as free",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, _| free_rows(memory))),
        ..REGISTRY
    },
    &Scenario {
        name: "free-mutex",
        about: "a dead owner's mutex is treated as free",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, _| {
            clear(memory, offset_of!(MutexControl, owner));
        })),
        ..MUTEX
    },
    &Scenario {
        name: "free-bakery",
        about: "the death of a bakery mutex's owner is not reported",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, _| {
            clear(memory, offset_of!(BakeryControl, holder));
        })),
        ..BAKERY
    },
    &Scenario {
        name: "free-rwlock",
        about: "a dead writer's lock is treated as free",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, _| {
            clear(memory, offset_of!(RwLockControl, writer));
        })),
        ..RWLOCK
    },
    &Scenario {
        name: "lost-permits",
        about: "a dead holder's permit is lost",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, _| lose_permits(memory))),
        ..SEMAPHORE
    },
    &Scenario {
        name: "open-barrier",
        about: "a dead party is treated as arrived",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, _| let_all_arrive(memory))),
        ..BARRIER
    },
    &Scenario {
        name: "rash-mutex",
        about: "a silent owner's mutex is taken from it",
        sabotage: Some(Sabotage::PresumeGone),
        ..MUTEX
    },
    &Scenario {
        name: "rash-ring",
        about: "a silent producer's or consumer's end is taken from it",
        sabotage: Some(Sabotage::PresumeGone),
        ..RING_RESULTS
    },
    &Scenario {
        name: "deaf-partition",
        about: "an evicted partition goes on after the error that reports its eviction",
        sabotage: Some(Sabotage::IgnoreEviction),
        ..ATTACH
    },
    &Scenario {
        name: "blind-user",
        about: "an evicted partition stores into memory that others own by then",
        sabotage: Some(Sabotage::StoreAfterEviction(REGISTRY.others_memory)),
        ..REGISTRY
    },
];

/// Stores 0 in a word of the object.
fn clear(memory: &TestMemory<'_>, offset: usize) {
    memory.object.word(offset).store(0, Relaxed);
}

fn free_rows(memory: &TestMemory<'_>) {
    let geometry = memory.registry.geometry();
    let index = PARTITIONS + geometry.partitions * size_of::<PartitionSlot>();
    let rows = index + geometry.segments * 2 * 4;
    for row in 0..geometry.segments {
        clear(
            memory,
            rows + row * size_of::<Row>() + offset_of!(Row, owner),
        );
    }
}

fn let_all_arrive(memory: &TestMemory<'_>) {
    let parties = size_of::<BarrierControl>()..memory.object.len();
    for party in parties.step_by(size_of::<BarrierEntry>()) {
        let arrived = memory
            .object
            .word(party + offset_of!(BarrierEntry, arrived));
        match arrived.load(Relaxed) {
            0 => {} // No party has used it.
            phase => arrived.store(phase + 1, Relaxed),
        }
    }
}

fn lose_permits(memory: &TestMemory<'_>) {
    let places = size_of::<SemaphoreControl>()..memory.object.len();
    for offset in places.step_by(size_of::<SemaphorePlace>()) {
        let word = memory.object.word(offset);
        if Incarnation::from_word(word.load(Relaxed)).is_some() {
            word.store(0, Relaxed);
        }
    }
}
