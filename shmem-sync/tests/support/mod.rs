//! Helpers of the tests of the locks.
#![allow(dead_code, unused_imports)] // Each test program uses some of them.

use shmem_core::{Incarnation, Window};
use shmem_sync::raw::{DoorbellRef, RawBakeryMutex};
use shmem_sync::{BakeryMutex, Barrier, Liveness, NotHeld, PartitionState, Protected};

mod halves;
#[cfg(loom)]
mod model;

pub(crate) use halves::whole;
#[cfg(loom)]
pub(crate) use model::{add_one, count, heap, yield_until, DeathNotice, FutexModel, Yield};

/// Returns a handle to a bakery mutex. No test uses two handles of one incarnation.
pub(crate) fn attach_bakery<T: Protected + ?Sized>(
    segment: Window<'_>,
    incarnation: Incarnation,
    partitions: u8,
) -> BakeryMutex<'_, T> {
    // SAFETY: the only handle of its incarnation that is used.
    unsafe { BakeryMutex::attach(segment, incarnation, partitions) }.unwrap()
}

/// Returns a handle without guards.
pub(crate) fn attach_raw_bakery(
    segment: Window<'_>,
    incarnation: Incarnation,
    partitions: u8,
) -> RawBakeryMutex<'_> {
    // SAFETY: the only handle of its incarnation that is used.
    unsafe { RawBakeryMutex::attach(segment, incarnation, partitions) }.unwrap()
}

/// Unlocks it, or returns that it is not held.
pub(crate) fn unlock_bakery(mutex: &mut RawBakeryMutex<'_>) -> Result<(), NotHeld> {
    // SAFETY: these tests use no window of it.
    unsafe { mutex.unlock() }
}

/// Declares its bytes whole, or returns that it is not held.
pub(crate) fn repair_bakery(mutex: &mut RawBakeryMutex<'_>) -> Result<(), NotHeld> {
    // SAFETY: there is nothing to repair.
    unsafe { mutex.make_consistent() }
}

/// Returns a handle to a barrier. No test uses two handles of one incarnation.
pub(crate) fn attach_barrier<'m>(
    segment: Window<'m>,
    incarnation: Incarnation,
    parties: usize,
    bell: DoorbellRef<'m>,
) -> Barrier<'m> {
    // SAFETY: the only handle of its incarnation that is used.
    unsafe { Barrier::attach(segment, incarnation, parties, bell) }.unwrap()
}

/// Reports these incarnations as gone, and all others as alive.
pub(crate) struct Dead<'a>(pub(crate) &'a [Incarnation]);

impl Liveness for Dead<'_> {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        PartitionState::from_is_gone(self.0.contains(&incarnation))
    }
}

/// Reports some incarnations as silent and some as gone.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) silent: &'a [Incarnation],
    pub(crate) gone: &'a [Incarnation],
}

impl Known<'_> {
    pub(crate) const NOTHING: Self = Self {
        silent: &[],
        gone: &[],
    };
}

impl Liveness for Known<'_> {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        match (
            self.gone.contains(&incarnation),
            self.silent.contains(&incarnation),
        ) {
            (true, _) => PartitionState::Gone,
            (false, true) => PartitionState::Silent,
            (false, false) => PartitionState::Alive,
        }
    }
}
