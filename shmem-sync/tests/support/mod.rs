//! What the tests of the locks share.
#![allow(dead_code, unused_imports)] // Each test program uses its part of it.

use shmem_core::Life;
use shmem_sync::{Liveness, PartitionState};

mod halves;
#[cfg(loom)]
mod model;

pub(crate) use halves::{whole, write_halves};
#[cfg(loom)]
pub(crate) use model::{heap, yields, Kernel, Obituary, Yield};

/// Knows that these lives are over, and of no other death.
pub(crate) struct Dead<'a>(pub(crate) &'a [Life]);

impl Liveness for Dead<'_> {
    fn state(&mut self, life: Life) -> PartitionState {
        PartitionState::gone_if(self.0.contains(&life))
    }
}

/// Knows of lives that are silent, and of lives that are gone.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) silent: &'a [Life],
    pub(crate) gone: &'a [Life],
}

impl Known<'_> {
    pub(crate) const NOTHING: Self = Self {
        silent: &[],
        gone: &[],
    };
}

impl Liveness for Known<'_> {
    fn state(&mut self, life: Life) -> PartitionState {
        match (self.gone.contains(&life), self.silent.contains(&life)) {
            (true, _) => PartitionState::Gone,
            (false, true) => PartitionState::Silent,
            (false, false) => PartitionState::Alive,
        }
    }
}
