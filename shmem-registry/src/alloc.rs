//! Which blocks belong to which row.
//!
//! One word per block names its row. There is no list to corrupt and nothing
//! to merge: a run of zeroes is free space.
//!
//! - **A1** A word is 0 (free) or a row's number + 1.
//! - **A2** Only a row's owner changes a word from 0 to that row, by
//!   compare-and-swap, and back, by a store.
//!
//! The hint in the registry's header is relaxed and unpaired: it hands nothing over.
//!
//! | store                 | paired load             | hands over        |
//! |-----------------------|-------------------------|-------------------|
//! | word in `free`        | word in `claim`         | a free block      |
//! | fence in `claim_row`, word in `claim` | word, fence in `allocate` | that a row is owned |

use memoffset::offset_of;

use shmem_core::mem::Word;
use shmem_core::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release},
};
use shmem_core::Window;

use crate::geometry::Places;
use crate::layout::{RegistryHeader, REGISTRY};

/// A run of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// The map of blocks.
#[derive(Clone, Copy)]
pub(crate) struct Blocks<'m> {
    memory: Window<'m>,
    places: Places,
}

impl<'m> Blocks<'m> {
    pub(crate) fn new(memory: Window<'m>, places: Places) -> Self {
        Self { memory, places }
    }

    fn word(&self, block: usize) -> Word<'m> {
        self.memory.word(self.places.map + block * 4)
    }

    /// Claims the first free run of `count` blocks for `row`, its first byte at
    /// a multiple of `align` in the region.
    ///
    /// Lock-free: a block that was lost to another row moves the search past
    /// it. The search starts at the hint; if that was wrong, at the start; and
    /// there again if a run was lost that its winner may have given back.
    pub(crate) fn allocate(&self, row: usize, count: usize, align: usize) -> Option<Run> {
        let hint = self.hint().load(Relaxed) as usize;
        let mut start = hint.min(self.places.blocks);
        for _ in 0..3 {
            let mut lost = false;
            let mut first = self.align(start, align);
            while count <= self.places.blocks && first <= self.places.blocks - count {
                match self.claim(row, first, count) {
                    Ok(()) => {
                        if first == start {
                            self.hint().store((first + count) as u32, Relaxed);
                        }
                        return Some(Run { first, count });
                    }
                    Err(Taken { block, race }) => {
                        lost |= race;
                        first = self.align(block + 1, align);
                    }
                }
            }
            if start == 0 && !lost {
                break;
            }
            start = 0;
        }
        // Pairs with the fence in `claim_row`: the rows that have what we could not
        // get are now seen to be owned, or what became of them.
        fence(Acquire); // loom: none (loom lets no exchange pass another)
        None
    }

    /// Any value is harmless: it is where to look first.
    fn hint(&self) -> Word<'m> {
        self.memory
            .word(REGISTRY + offset_of!(RegistryHeader, hint))
    }

    /// The first block at or behind `block` whose offset is a multiple of `align`.
    fn align(&self, block: usize, align: usize) -> usize {
        let size = self.places.geometry.block;
        let offset = self.places.data + block * size;
        (offset.next_multiple_of(align.max(size)) - self.places.data) / size
    }

    fn claim(&self, row: usize, first: usize, count: usize) -> Result<(), Taken> {
        // A look before the first claim, from the end: the usual case is a run
        // that is taken, and the last taken block skips the most.
        for block in (first..first + count).rev() {
            if self.word(block).load(Relaxed) != 0 {
                return Err(Taken { block, race: false });
            }
        }
        for block in first..first + count {
            // Acquire pairs with the store in `free`: who had it has let go.
            let claimed = self
                .word(block)
                .compare_exchange(0, row as u32 + 1, Acquire, Relaxed); // loom: loom_registry::a_block_that_was_given_back_is_let_go
            if claimed.is_err() {
                let taken = Run {
                    first,
                    count: block - first,
                };
                self.free(row, taken);
                return Err(Taken { block, race: true });
            }
        }
        Ok(())
    }

    /// Gives back whatever of `run` its row has.
    pub(crate) fn free(&self, row: usize, run: Run) {
        let first = run.first.min(self.places.blocks);
        let end = first + run.count.min(self.places.blocks - first);
        for block in first..end {
            // A2: nobody else changes it while it is the row's.
            if self.word(block).load(Relaxed) == row as u32 + 1 {
                // Release pairs with the exchange in `claim`: we have let go.
                self.word(block).store(0, Release); // loom: loom_registry::a_block_that_was_given_back_is_let_go
            }
        }
        if (first as u32) < self.hint().load(Relaxed) {
            self.hint().store(first as u32, Relaxed);
        }
    }

    /// Gives back all that a row has, however far its owner came.
    pub(crate) fn reclaim(&self, row: usize) {
        let all = Run {
            first: 0,
            count: self.places.blocks,
        };
        self.free(row, all);
    }

    /// Blocks that are free now.
    pub(crate) fn free_blocks(&self) -> usize {
        let is_free = |&block: &usize| self.word(block).load(Relaxed) == 0;
        (0..self.places.blocks).filter(is_free).count()
    }
}

/// A block that a run cannot have.
struct Taken {
    block: usize,
    /// It was free a moment before.
    race: bool,
}
