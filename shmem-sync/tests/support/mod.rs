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
