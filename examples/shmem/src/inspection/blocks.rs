//! The map of blocks: free blocks, and blocks with a wrong owner.

use shmem_registry::BlockOwner;

use super::rows::{Entry, Rows, State};
use super::scene::Scene;
use crate::finding::Findings;

/// The free space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) free: usize,
    /// The number of blocks in the longest free run.
    pub(super) largest_run: usize,
}

/// What is wrong with the owner of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    NoSuchRow,
    Leaked,
    Stray,
}

/// Reads the available words of the map, and compares them with the rows, if those are
/// available.
pub(super) fn check(scene: &Scene<'_>, rows: &Rows<'_>, findings: &mut Findings) -> Space {
    let tables = scene.registry.tables();
    let map = Map {
        scene,
        rows,
        block_size: scene.registry.geometry().block_size,
        available: tables
            .blocks
            .min(scene.available.saturating_sub(tables.map) / 4),
    };
    if scene.has_rows() {
        map.check(findings);
        for entry in rows.iter().filter(|entry| entry.state == State::Listed) {
            map.check_run(entry, findings);
        }
    }
    map.measure()
}

/// The available part of the map of blocks.
struct Map<'a, 'm> {
    scene: &'a Scene<'m>,
    rows: &'a Rows<'m>,
    /// Bytes of a block.
    block_size: usize,
    available: usize,
}

/// Consecutive blocks with the same owner and the same error.
struct Run {
    first: usize,
    len: usize,
    /// The word of each of its blocks in the map.
    word: u32,
    wrong: Option<Wrong>,
}

impl Map<'_, '_> {
    fn words(&self) -> impl Iterator<Item = u32> {
        (0..self.available).map_while(|block| self.scene.registry.block_word(block))
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

    /// Reports one finding for each run of blocks with the same error.
    fn check(&self, findings: &mut Findings) {
        let mut run: Option<Run> = None;
        for (block, word) in self.words().enumerate() {
            let wrong = find_error(word, block, self.rows, self.block_size);
            match &mut run {
                Some(run) if (run.word, run.wrong) == (word, wrong) => run.len += 1,
                _ => {
                    let next = Run {
                        first: block,
                        len: 1,
                        word,
                        wrong,
                    };
                    run.replace(next).inspect(|run| self.report(run, findings));
                }
            }
        }
        run.inspect(|run| self.report(run, findings));
    }

    fn report(&self, run: &Run, findings: &mut Findings) {
        let wrong = run.wrong.filter(|_| self.is_unchanged(run));
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
            Wrong::NoSuchRow => ("map.row", "which does not exist"),
            Wrong::Leaked if run.len == 1 => ("map.leaked", "which is free: the block is leaked"),
            Wrong::Leaked => ("map.leaked", "which is free: the blocks are leaked"),
            Wrong::Stray => ("map.stray", "whose segment is elsewhere"),
        };
        let row = owner.row;
        findings.damaged(code, &at, format_args!("{belong} to row {row}, {why}"));
    }

    /// Returns true if the first block and its row have not changed since.
    fn is_unchanged(&self, run: &Run) -> bool {
        let entry = BlockOwner::from_word(run.word).and_then(|owner| self.rows.get(owner.row));
        self.scene.registry.block_word(run.first) == Some(run.word)
            && entry.is_none_or(|entry| entry.is_unchanged(self.scene))
    }

    /// Checks that a segment owns the blocks of its range.
    fn check_run(&self, entry: &Entry<'_>, findings: &mut Findings) {
        let (first, count) = entry.run(self.block_size);
        let end = first.saturating_add(count).min(self.available);
        // The first block of another owner ends the check: its time is bounded by own blocks.
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
        if !entry.is_unchanged(self.scene) {
            return;
        }
        findings.damaged("row.blocks", &entry.at, what);
    }
}

/// Returns what is wrong if block `at` has this word.
fn find_error(word: u32, at: usize, rows: &Rows<'_>, block: usize) -> Option<Wrong> {
    let owner = BlockOwner::from_word(word)?;
    let Some(entry) = rows.get(owner.row) else {
        return Some(Wrong::NoSuchRow);
    };
    if !owner.generation_matches(entry.words.generation()) {
        return None; // An evicted owner's block, which is freed when space runs out.
    }
    match entry.state {
        State::Free => Some(Wrong::Leaked),
        State::Listed | State::Linked => {
            let (first, count) = entry.run(block);
            let inside = at >= first && at - first < count;
            (!inside).then_some(Wrong::Stray)
        }
        // Its owner, or a partition that reaps, frees all its blocks.
        State::Creating | State::Removing | State::Removed => None,
    }
}
