//! Which blocks belong to which row.
//!
//! One word for each block names the block's row, in one use of that row. There is no list to
//! corrupt and there are no runs to merge: a run of zeroes is free space.
//!
//! - **A1** A word is 0 (free), or a row's number + 1 (bits 0 to 16) and the low bits of the row's
//!   generation (bits 17 to 31).
//! - **A2** A word changes from 0 to a row, and back, by exchanges of the exact word. So an owner
//!   that was evicted frees nothing of the row's next use.
//! - **A3** An evicted owner may claim a block late. Then the word names an earlier use of the row
//!   and is *stale*: it belongs to no row. A search that finds no space frees stale words and
//!   searches again.
//!
//! The hint in the registry's header is relaxed and has no pair: it hands nothing over.
//!
//! | store                                 | paired load             | hands over           |
//! |---------------------------------------|-------------------------|----------------------|
//! | word in `free`                        | word in `claim`         | a free block         |
//! | fence in `claim_row`, word in `claim` | word, fence in `search` | that a row is owned  |
//! | fence in `claim_row`, word in `claim` | word in `stale_word`    | the row's generation |

use memoffset::offset_of;

use shmem_core::mem::Word;
use shmem_core::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::evicted::Evicted;
use crate::layout::{RegistryHeader, REGISTRY};
use crate::memory::Registry;
use crate::row::Claim;

/// Words of the map that are changed between two checks of the claim: a page.
const STEP: usize = 1024;

/// A run of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// The contents of a word of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockOwner {
    /// The row that has the block; no row has this number if a hostile partition stored the word.
    pub row: usize,
    /// The low 15 bits of the row's generation when it took the block.
    pub generation: u32,
}

impl BlockOwner {
    const ROW_BITS: u32 = 17;
    const ROW: u32 = (1 << Self::ROW_BITS) - 1;
    const GENERATION: u32 = (1 << (32 - Self::ROW_BITS)) - 1;

    pub(crate) fn word(row: usize, generation: u32) -> u32 {
        (generation & Self::GENERATION) << Self::ROW_BITS | (row as u32 + 1)
    }

    /// Decodes a word of the map; returns `None` for a free block.
    pub fn from_word(word: u32) -> Option<Self> {
        (word != 0).then_some(Self {
            row: (word & Self::ROW).wrapping_sub(1) as usize,
            generation: word >> Self::ROW_BITS,
        })
    }

    /// Returns true if `generation` was the row's generation when it took the block.
    pub fn generation_matches(&self, generation: u32) -> bool {
        generation & Self::GENERATION == self.generation
    }
}

/// The map of blocks.
#[derive(Clone, Copy)]
pub(crate) struct Blocks<'r, 'm> {
    registry: &'r Registry<'m>,
}

/// Why a run of blocks was not claimed.
enum ClaimFailure {
    /// Another row has a block of it. It is a `race` if the block was free a moment before.
    Block {
        at: usize,
        race: bool,
    },
    Evicted,
}

impl<'m> Registry<'m> {
    pub(crate) fn blocks(&self) -> Blocks<'_, 'm> {
        Blocks { registry: self }
    }
}

impl<'m> Blocks<'_, 'm> {
    fn len(&self) -> usize {
        self.registry.layout.blocks
    }

    pub(crate) fn word(&self, block: usize) -> Word<'m> {
        let map = self.registry.layout.map;
        self.registry.memory().word(map + block * 4)
    }

    /// Claims the first free run of `count` blocks whose first byte is at a multiple of `align` in
    /// the region. Returns `None` if there is no such run.
    pub(crate) fn allocate(
        &self,
        claim: &Claim<'_, 'm>,
        count: usize,
        align: usize,
    ) -> Result<Option<Run>, Evicted> {
        let found = self.search(claim, count, align)?;
        if found.is_some() || !self.free_stale_blocks(claim)? {
            return Ok(found);
        }
        self.search(claim, count, align)
    }

    /// Lock-free: if another row takes a block first, the search continues after that block. The
    /// search starts at the hint, and a second time at the start if the hint was wrong. It starts
    /// there again if it lost a run that the winner may have released.
    fn search(
        &self,
        claim: &Claim<'_, 'm>,
        count: usize,
        align: usize,
    ) -> Result<Option<Run>, Evicted> {
        // relaxed: any value is harmless.
        let hint = self.block_hint().load(Relaxed) as usize;
        let mut start = hint.min(self.len());
        for _ in 0..3 {
            let mut lost_race = false;
            let mut first = self.align(start, align);
            while count <= self.len() && first <= self.len() - count {
                match self.claim(claim, first, count) {
                    Ok(()) => {
                        if first == start {
                            // relaxed: any value is harmless.
                            self.block_hint().store((first + count) as u32, Relaxed);
                        }
                        return Ok(Some(Run { first, count }));
                    }
                    Err(ClaimFailure::Evicted) => return Err(Evicted),
                    Err(ClaimFailure::Block { at, race }) => {
                        lost_race |= race;
                        first = self.align(at + 1, align);
                    }
                }
            }
            if start == 0 && !lost_race {
                break;
            }
            start = 0;
        }
        // Pairs with the fence in `claim_row`: the rows that have the blocks we could not claim are
        // now seen to be owned, or in the state that followed.
        // loom: none (loom lets no exchange pass another)
        fence(Acquire);
        Ok(None)
    }

    /// Returns the word of the hint, where a search starts. Any value is harmless.
    fn block_hint(&self) -> Word<'m> {
        let memory = self.registry.memory();
        memory.word(REGISTRY + offset_of!(RegistryHeader, block_hint))
    }

    /// Returns the first block at or after `block` whose offset is a multiple of `align`.
    fn align(&self, block: usize, align: usize) -> usize {
        let layout = &self.registry.layout;
        let size = layout.geometry.block_size;
        let offset = layout.data + block * size;
        (offset.next_multiple_of(align.max(size)) - layout.data) / size
    }

    fn claim(&self, claim: &Claim<'_, 'm>, first: usize, count: usize) -> Result<(), ClaimFailure> {
        claim.step().map_err(|Evicted| ClaimFailure::Evicted)?;
        // Checks the blocks before the first claim, from the end: usually some block of the run is
        // taken, and the last taken block lets the search skip the most.
        for at in (first..first + count).rev() {
            // relaxed: a hint; the exchange decides, and the fence in `search` is after it.
            if self.word(at).load(Relaxed) != 0 {
                return Err(ClaimFailure::Block { at, race: false });
            }
        }
        let ours = BlockOwner::word(claim.row, claim.generation);
        for at in first..first + count {
            if (at - first) % STEP == 0 {
                claim.step().map_err(|Evicted| ClaimFailure::Evicted)?;
            }
            // Acquire: pairs with the exchange in `free`; the last owner has released the block.
            // relaxed: on failure nothing is read; the fence in `search` is after it.
            // loom: loom_registry::a_released_block_is_no_longer_used
            let claimed = self.word(at).compare_exchange(0, ours, Acquire, Relaxed);
            if claimed.is_err() {
                let taken = Run {
                    first,
                    count: at - first,
                };
                let freed = self.free(claim, taken);
                freed.map_err(|Evicted| ClaimFailure::Evicted)?;
                return Err(ClaimFailure::Block { at, race: true });
            }
        }
        Ok(())
    }

    /// Frees the blocks of `run` that the row has in this use.
    pub(crate) fn free(&self, claim: &Claim<'_, 'm>, run: Run) -> Result<(), Evicted> {
        let first = run.first.min(self.len());
        let end = first + run.count.min(self.len() - first);
        let ours = BlockOwner::word(claim.row, claim.generation);
        for at in first..end {
            if (at - first) % STEP == 0 {
                claim.step()?;
            }
            let word = self.word(at);
            // relaxed: we claimed it, or the exchange in `acquire_row` is before it. A word that a
            // late owner claims is missed and becomes stale (A3).
            if word.load(Relaxed) == ours {
                // Release: pairs with the exchange in `claim`; we no longer use the block. The
                // exchange fails if we were evicted (A2).
                // relaxed: on failure nothing is read.
                // loom: loom_registry::a_released_block_is_no_longer_used
                let _ = word.compare_exchange(ours, 0, Release, Relaxed);
            }
        }
        // relaxed: any value is harmless.
        if (first as u32) < self.block_hint().load(Relaxed) {
            // relaxed: any value is harmless.
            self.block_hint().store(first as u32, Relaxed);
        }
        Ok(())
    }

    /// Frees the blocks with stale words (A3). Returns true if there were any.
    fn free_stale_blocks(&self, claim: &Claim<'_, 'm>) -> Result<bool, Evicted> {
        let mut any = false;
        for at in 0..self.len() {
            if at % STEP == 0 {
                claim.step()?;
            }
            if let Some(word) = self.stale_word(at) {
                // relaxed: the owner that claimed it late has never used the block.
                any |= self
                    .word(at)
                    .compare_exchange(word, 0, Relaxed, Relaxed)
                    .is_ok();
            }
        }
        Ok(any)
    }

    /// Returns the word of a block if it is stale.
    fn stale_word(&self, block: usize) -> Option<u32> {
        // Acquire: pairs with the fence in `claim_row`; if a row has the block, we see the use in
        // which it took it, or a later one.
        // loom: none (the fence in `search` precedes it; this is for a block claimed after it)
        let word = self.word(block).load(Acquire);
        let owner = BlockOwner::from_word(word)?;
        if owner.row >= self.registry.layout.geometry.segments {
            return None; // No honest partition stores this, and none frees it.
        }
        // relaxed: the load of the word is before it.
        let state = self.registry.state(owner.row).load(Relaxed);
        (!owner.generation_matches(state >> 1)).then_some(word)
    }

    /// Returns the number of blocks that are free now.
    pub(crate) fn free_blocks(&self) -> usize {
        // relaxed: a count, which may already have changed when it is returned.
        let is_free = |&block: &usize| self.word(block).load(Relaxed) == 0;
        (0..self.len()).filter(is_free).count()
    }
}
