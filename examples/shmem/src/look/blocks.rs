//! The map of blocks: what is free, and who has what it should not have.

use shmem_registry::BlockOwner;

use super::rows::{Entry, Rows, State};
use super::scene::Scene;
use crate::finding::Findings;

/// How much is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) free: usize,
    /// Blocks of the longest free run.
    pub(super) largest_run: usize,
}

/// What is wrong with a block that somebody has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    NoSuchRow,
    Leaked,
    Stray,
}

/// Looks at the words of the map that are there, and holds them against the rows,
/// if those are.
pub(super) fn look(scene: &Scene<'_>, rows: &Rows<'_>, findings: &mut Findings) -> Space {
    let tables = scene.registry.tables();
    let map = Map {
        scene,
        rows,
        block: scene.registry.geometry().block,
        there: tables
            .blocks
            .min(scene.there.saturating_sub(tables.map) / 4),
    };
    if scene.has_rows() {
        map.check(findings);
        for entry in rows.iter().filter(|entry| entry.state == State::Listed) {
            map.check_run(entry, findings);
        }
    }
    map.measure()
}

/// The map of blocks, as far as it is there.
struct Map<'a, 'm> {
    scene: &'a Scene<'m>,
    rows: &'a Rows<'m>,
    /// Bytes of a block.
    block: usize,
    there: usize,
}

/// Blocks that have the same owner, and the same fault.
struct Run {
    first: usize,
    len: usize,
    /// Its blocks' words in the map.
    word: u32,
    wrong: Option<Wrong>,
}

impl Map<'_, '_> {
    fn words(&self) -> impl Iterator<Item = u32> {
        (0..self.there).map_while(|block| self.scene.registry.block_word(block))
    }

    fn measure(&self) -> Space {
        let (mut space, mut run) = (Space::default(), 0);
        for word in self.words() {
            run = if word == 0 { run + 1 } else { 0 };
            space.free += usize::from(word == 0);
            space.largest_run = space.largest_run.max(run);
        }
        space
    }

    /// One finding for each run of blocks that have the same fault.
    fn check(&self, findings: &mut Findings) {
        let mut run: Option<Run> = None;
        for (block, word) in self.words().enumerate() {
            let wrong = fault(word, block, self.rows, self.block);
            match &mut run {
                Some(run) if (run.word, run.wrong) == (word, wrong) => run.len += 1,
                _ => {
                    let next = Run {
                        first: block,
                        len: 1,
                        word,
                        wrong,
                    };
                    run.replace(next).inspect(|run| self.tell(run, findings));
                }
            }
        }
        run.inspect(|run| self.tell(run, findings));
    }

    fn tell(&self, run: &Run, findings: &mut Findings) {
        let wrong = run.wrong.filter(|_| self.is_still(run));
        let (Some(wrong), Some(owner)) = (wrong, BlockOwner::from_word(run.word)) else {
            return;
        };
        let (at, belong) = match run.len {
            1 => (format!("block {}", run.first), "belongs"),
            len => {
                let last = run.first + len - 1;
                (format!("blocks {} to {last}", run.first), "belong")
            }
        };
        let (code, why) = match wrong {
            Wrong::NoSuchRow => ("map.row", "which there is not"),
            Wrong::Leaked => ("map.leaked", "which is free: leaked"),
            Wrong::Stray => ("map.stray", "whose segment lies elsewhere"),
        };
        let row = owner.row;
        findings.damaged(code, &at, format_args!("{belong} to row {row}, {why}"));
    }

    /// Whether the first block and its row are as they were: else they are in motion.
    fn is_still(&self, run: &Run) -> bool {
        let entry = BlockOwner::from_word(run.word).and_then(|owner| self.rows.get(owner.row));
        self.scene.registry.block_word(run.first) == Some(run.word)
            && entry.is_none_or(|entry| entry.holds(self.scene))
    }

    /// Whether a segment has the blocks that it lies in.
    fn check_run(&self, entry: &Entry<'_>, findings: &mut Findings) {
        let (first, count) = entry.run(self.block);
        let end = first.saturating_add(count).min(self.there);
        // No row takes longer than the blocks that are its own: the first other ends it.
        let owner = |block| {
            let word = self.scene.registry.block_word(block)?;
            Some((block, BlockOwner::from_word(word)))
        };
        let is_ours = |owner: BlockOwner| {
            owner.row == entry.words.row && owner.generation_matches(entry.words.generation())
        };
        let mut run = (first..end).map_while(owner);
        let what = match run.find(|&(_, owner)| !owner.is_some_and(is_ours)) {
            None => return,
            Some((at, None)) => format!("its block {at} is free"),
            Some((at, Some(owner))) if owner.row == entry.words.row => {
                format!("its block {at} belongs to another use of its row")
            }
            Some((at, Some(owner))) => format!("its block {at} belongs to row {}", owner.row),
        };
        if !entry.holds(self.scene) {
            return;
        }
        findings.damaged("row.blocks", &entry.at, what);
    }
}

/// What is wrong with `at` having this word.
fn fault(word: u32, at: usize, rows: &Rows<'_>, block: usize) -> Option<Wrong> {
    let owner = BlockOwner::from_word(word)?;
    let Some(entry) = rows.get(owner.row) else {
        return Some(Wrong::NoSuchRow);
    };
    if !owner.generation_matches(entry.words.generation()) {
        return None; // An evicted owner's: free as soon as space runs out.
    }
    match entry.state {
        State::Free => Some(Wrong::Leaked),
        State::Listed | State::Linked => {
            let (first, count) = entry.run(block);
            let inside = at >= first && at - first < count;
            (!inside).then_some(Wrong::Stray)
        }
        // Its owner, or whoever reaps, gives back whatever it has.
        State::Creating | State::Removing | State::Removed => None,
    }
}
