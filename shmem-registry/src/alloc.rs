//! Which blocks belong to which row.
//!
//! One word per block names its row, in one use of it. There is no list to corrupt
//! and nothing to merge: a run of zeroes is free space.
//!
//! - **A1** A word is 0 (free), or bits 0 to 16 a row's number + 1 and bits 17 to 31
//!   the low bits of its generation.
//! - **A2** A word changes from 0 to a row, and back, by exchanges of the exact word.
//!   So an owner that was evicted meanwhile frees nothing of the row's next use.
//! - **A3** A word of a use that is over, which such an owner claimed late, is
//!   nobody's: it is freed by whoever would otherwise be told that there is no space.
//!
//! The hint in the registry's header is relaxed and unpaired: it hands nothing over.
//!
//! | store                 | paired load             | hands over        |
//! |-----------------------|-------------------------|-------------------|
//! | word in `free`        | word in `claim`         | a free block      |
//! | fence in `claim_row`, word in `claim` | word, fence in `allocate` | that a row is owned |
//! | the same              | word in `is_stray`      | the row's generation |

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

/// Words of the map that are changed between two looks at the claim: a page.
const STEP: usize = 1024;

/// A run of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// What a word of the map says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockOwner {
    /// The row that has the block; a number that no row has if the word is not honest.
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

    /// What a word of the map says; `None` of a free block.
    pub fn from_word(word: u32) -> Option<Self> {
        (word != 0).then_some(Self {
            row: (word & Self::ROW).wrapping_sub(1) as usize,
            generation: word >> Self::ROW_BITS,
        })
    }

    /// Whether `generation` is the row's when it took the block.
    pub fn generation_matches(&self, generation: u32) -> bool {
        generation & Self::GENERATION == self.generation
    }
}

/// The map of blocks.
#[derive(Clone, Copy)]
pub(crate) struct Blocks<'m> {
    registry: Registry<'m>,
}

/// Why a run of blocks was not claimed.
enum Taken {
    /// A block of it is another row's; it was free a moment before if it was a `race`.
    Block {
        at: usize,
        race: bool,
    },
    Evicted,
}

impl<'m> Registry<'m> {
    pub(crate) fn blocks(&self) -> Blocks<'m> {
        Blocks { registry: *self }
    }
}

impl<'m> Blocks<'m> {
    fn len(&self) -> usize {
        self.registry.places.blocks
    }

    pub(crate) fn word(&self, block: usize) -> Word<'m> {
        let map = self.registry.places.map;
        self.registry.memory().word(map + block * 4)
    }

    /// Claims the first free run of `count` blocks, its first byte at a multiple of
    /// `align` in the region; `None` if there is none.
    pub(crate) fn allocate(
        &self,
        claim: &Claim<'_, 'm>,
        count: usize,
        align: usize,
    ) -> Result<Option<Run>, Evicted> {
        let found = self.search(claim, count, align)?;
        if found.is_some() || !self.free_strays(claim)? {
            return Ok(found);
        }
        self.search(claim, count, align)
    }

    /// Lock-free: a block that was lost to another row moves the search past
    /// it. The search starts at the hint; if that was wrong, at the start; and
    /// there again if a run was lost that its winner may have given back.
    fn search(
        &self,
        claim: &Claim<'_, 'm>,
        count: usize,
        align: usize,
    ) -> Result<Option<Run>, Evicted> {
        // relaxed: any value is harmless.
        let hint = self.hint().load(Relaxed) as usize;
        let mut start = hint.min(self.len());
        for _ in 0..3 {
            let mut lost = false;
            let mut first = self.align(start, align);
            while count <= self.len() && first <= self.len() - count {
                match self.claim(claim, first, count) {
                    Ok(()) => {
                        if first == start {
                            // relaxed: any value is harmless.
                            self.hint().store((first + count) as u32, Relaxed);
                        }
                        return Ok(Some(Run { first, count }));
                    }
                    Err(Taken::Evicted) => return Err(Evicted),
                    Err(Taken::Block { at, race }) => {
                        lost |= race;
                        first = self.align(at + 1, align);
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
        // loom: none (loom lets no exchange pass another)
        fence(Acquire);
        Ok(None)
    }

    /// Any value is harmless: it is where to look first.
    fn hint(&self) -> Word<'m> {
        let memory = self.registry.memory();
        memory.word(REGISTRY + offset_of!(RegistryHeader, hint))
    }

    /// The first block at or behind `block` whose offset is a multiple of `align`.
    fn align(&self, block: usize, align: usize) -> usize {
        let places = &self.registry.places;
        let size = places.geometry.block;
        let offset = places.data + block * size;
        (offset.next_multiple_of(align.max(size)) - places.data) / size
    }

    fn claim(&self, claim: &Claim<'_, 'm>, first: usize, count: usize) -> Result<(), Taken> {
        claim.step().map_err(|Evicted| Taken::Evicted)?;
        // A look before the first claim, from the end: the usual case is a run
        // that is taken, and the last taken block skips the most.
        for at in (first..first + count).rev() {
            // relaxed: a hint; the exchange decides, and the fence in `search` is after it.
            if self.word(at).load(Relaxed) != 0 {
                return Err(Taken::Block { at, race: false });
            }
        }
        let ours = BlockOwner::word(claim.row, claim.generation);
        for at in first..first + count {
            if (at - first) % STEP == 0 {
                claim.step().map_err(|Evicted| Taken::Evicted)?;
            }
            // Acquire pairs with the exchange in `free`: who had it has let go.
            // relaxed: on failure nothing is read; the fence in `search` is after it.
            // loom: loom_registry::a_block_that_was_given_back_is_let_go
            let claimed = self.word(at).compare_exchange(0, ours, Acquire, Relaxed);
            if claimed.is_err() {
                let taken = Run {
                    first,
                    count: at - first,
                };
                let freed = self.free(claim, taken);
                freed.map_err(|Evicted| Taken::Evicted)?;
                return Err(Taken::Block { at, race: true });
            }
        }
        Ok(())
    }

    /// Gives back whatever of `run` the row has, in this use of it.
    pub(crate) fn free(&self, claim: &Claim<'_, 'm>, run: Run) -> Result<(), Evicted> {
        let first = run.first.min(self.len());
        let end = first + run.count.min(self.len() - first);
        let ours = BlockOwner::word(claim.row, claim.generation);
        for at in first..end {
            if (at - first) % STEP == 0 {
                claim.step()?;
            }
            let word = self.word(at);
            // relaxed: we claimed it, or the exchange in `own_row` is before it; one that a
            // late owner claims is missed and becomes a stray (A3).
            if word.load(Relaxed) == ours {
                // Release pairs with the exchange in `claim`: we have let go. It fails
                // where we were evicted (A2).
                // relaxed: on failure nothing is read.
                // loom: loom_registry::a_block_that_was_given_back_is_let_go
                let _ = word.compare_exchange(ours, 0, Release, Relaxed);
            }
        }
        // relaxed: any value is harmless.
        if (first as u32) < self.hint().load(Relaxed) {
            // relaxed: any value is harmless.
            self.hint().store(first as u32, Relaxed);
        }
        Ok(())
    }

    /// Frees blocks of uses that are over (A3). Whether there were any.
    fn free_strays(&self, claim: &Claim<'_, 'm>) -> Result<bool, Evicted> {
        let mut any = false;
        for at in 0..self.len() {
            if at % STEP == 0 {
                claim.step()?;
            }
            if let Some(word) = self.stray(at) {
                // relaxed: who claimed it late has never used the block.
                any |= self
                    .word(at)
                    .compare_exchange(word, 0, Relaxed, Relaxed)
                    .is_ok();
            }
        }
        Ok(any)
    }

    /// The word of a block whose row's use is over.
    fn stray(&self, block: usize) -> Option<u32> {
        // Acquire: pairs with the fence in `claim_row`; a row that has the block is seen
        // in the use in which it took it, or in a later one.
        // loom: none (the fence in `search` is before it; it takes a block that changes hands in between)
        let word = self.word(block).load(Acquire);
        let owner = BlockOwner::from_word(word)?;
        if owner.row >= self.registry.places.geometry.segments {
            return None; // No honest partition's, and so nobody's to free.
        }
        // relaxed: the load of the word is before it.
        let state = self.registry.state(owner.row).load(Relaxed);
        (!owner.generation_matches(state >> 1)).then_some(word)
    }

    /// Blocks that are free now.
    pub(crate) fn free_blocks(&self) -> usize {
        // relaxed: a count, which may be old when it is returned.
        let is_free = |&block: &usize| self.word(block).load(Relaxed) == 0;
        (0..self.len()).filter(is_free).count()
    }
}
