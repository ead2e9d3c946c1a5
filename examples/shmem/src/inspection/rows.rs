//! The rows: the segment that each names, and whether it is valid.

use shmem_registry::inspect::RowWords;
use shmem_registry::layout::Row;
use shmem_registry::{Id, Kind, Name};

use super::chains;
use super::scene::Scene;
use crate::finding::Findings;
use crate::report::{IncarnationView, Unfinished};

/// The state of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Free,
    /// A partition prepares it: others cannot see it yet.
    Creating,
    /// In the table; the partition that created it has not released it yet.
    Linked,
    /// In the table.
    Listed,
    /// A partition frees it and its blocks.
    Removing,
    /// Out of the table, but not freed.
    Removed,
}

/// One row and its meaning.
pub(super) struct Entry<'m> {
    pub(super) words: RowWords<'m>,
    pub(super) state: State,
    /// Whether a chain contains it.
    linked: bool,
    /// Its name in findings.
    pub(super) at: String,
}

/// All rows that were read.
pub(super) struct Rows<'m> {
    entries: Vec<Entry<'m>>,
}

impl<'m> Rows<'m> {
    /// Reads all available rows, and reports what is wrong with each.
    pub(super) fn read(scene: &Scene<'m>, findings: &mut Findings) -> Self {
        let start = scene.registry.tables().rows;
        let available = scene.available.saturating_sub(start) / size_of::<Row>();
        // Read before the chains: a row that was in the table before and after was in a chain.
        let words: Vec<_> = scene.registry.rows().take(available).collect();
        let chains = chains::walk(&scene.registry, scene.has_rows(), findings);
        let entry = |words: RowWords<'m>| {
            let linked = chains
                .link_to(words.row)
                .filter(|to| words.is_linked_by(to));
            Entry::new(words, linked.is_some())
        };
        let entries: Vec<_> = words.into_iter().map(entry).collect();
        for entry in &entries {
            entry.check(scene, findings);
        }
        Self { entries }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry<'m>> {
        self.entries.iter()
    }

    pub(super) fn get(&self, row: usize) -> Option<&Entry<'m>> {
        self.entries.get(row)
    }

    /// Returns the number of rows that are not free.
    pub(super) fn used(&self) -> usize {
        self.iter()
            .filter(|entry| entry.state != State::Free)
            .count()
    }

    /// Returns the rows that a partition works on, or worked on until it died.
    pub(super) fn unfinished(&self, scene: &Scene<'_>, findings: &mut Findings) -> Vec<Unfinished> {
        let unfinished = self.iter().filter_map(|entry| entry.unfinished(scene));
        let unfinished: Vec<_> = unfinished.collect();
        for row in &unfinished {
            let at = &self.entries[row.row].at;
            match row.owner {
                Some(owner) if owner.gone == Some(true) => {
                    let IncarnationView {
                        partition,
                        incarnation,
                        ..
                    } = owner;
                    let what = format!(
                        "{} by incarnation {incarnation} of partition {partition}, which is gone: \
                         Registry::reap in any partition frees it",
                        row.state
                    );
                    findings.left("row.unfinished", at, what);
                }
                None if self.entries[row.row].words.owner == 0 => {
                    let what = "removed, but its blocks are not freed: Registry::reap in any \
                                partition frees them";
                    findings.left("row.unfinished", at, what);
                }
                _ => {}
            }
        }
        unfinished
    }
}

impl<'m> Entry<'m> {
    fn new(words: RowWords<'m>, linked: bool) -> Self {
        let named = words.is_named();
        let state = match words.owner {
            0 if !named => State::Free,
            0 if words.is_removed() => State::Removed,
            0 => State::Listed,
            _ if words.is_removed() => State::Removing,
            _ if named && linked => State::Linked,
            _ => State::Creating,
        };
        let at = match state {
            State::Free | State::Creating => format!("row {}", words.row),
            _ if words.name == Name::NONE => format!("row {}", words.row),
            _ => format!("row {} ({})", words.row, words.name),
        };
        Self {
            words,
            state,
            linked,
            at,
        }
    }

    /// Returns true if the row has not changed since it was read. If it has, the rest of the table
    /// may contradict it.
    pub(super) fn is_unchanged(&self, scene: &Scene<'_>) -> bool {
        let then = &self.words;
        let now = scene.registry.row_words(then.row);
        now.is_some_and(|now| {
            let owned = |words: &RowWords<'_>| words.owner != 0;
            !then.moving
                && now.state == then.state
                && now.is_removed() == then.is_removed()
                && owned(&now) == owned(then)
        })
    }

    /// Returns true if a lookup can find it.
    pub(super) fn is_listed(&self) -> bool {
        matches!(self.state, State::Listed | State::Linked)
    }

    /// Returns the first block that it needs, and the number of blocks.
    pub(super) fn run(&self, block: usize) -> (usize, usize) {
        let count = (self.words.length as usize).div_ceil(block);
        (self.words.first_block as usize, count)
    }

    fn unfinished(&self, scene: &Scene<'_>) -> Option<Unfinished> {
        let state = match self.state {
            State::Free | State::Listed => return None,
            State::Creating => "being created",
            State::Linked => "created, not released",
            State::Removing => "being removed",
            State::Removed => "removed, not freed",
        };
        Some(Unfinished {
            row: self.words.row,
            generation: self.words.generation(),
            name: self.name(),
            owner: self
                .words
                .owner()
                .map(|incarnation| scene.incarnations.view(incarnation)),
            state,
        })
    }

    /// Returns its name, or an empty one while it is created: the name may be that of its last use.
    pub(super) fn name(&self) -> String {
        match self.state {
            State::Free | State::Creating => String::new(),
            _ => self.words.name.to_string(),
        }
    }

    fn check(&self, scene: &Scene<'_>, findings: &mut Findings) {
        let words = &self.words;
        let mut damaged = |code, what: String| findings.damaged(code, &self.at, what);
        if words.owner != 0 && words.owner().is_none() {
            let what = format!("its owner is {:#010x}, not an incarnation", words.owner);
            damaged("row.owner", what);
        }
        let lost = self.state == State::Listed && !self.linked && scene.has_rows();
        if lost && self.is_unchanged(scene) {
            let what = "in no chain: lookups do not find it".to_owned();
            damaged("row.unlinked", what);
        }
        if self.is_listed() && !words.moving {
            self.check_segment(scene, &mut damaged);
        }
    }

    fn check_segment(&self, scene: &Scene<'_>, damaged: &mut impl FnMut(&'static str, String)) {
        let words = &self.words;
        let Kind(kind) = words.kind;
        if kind > Kind::CALL_LINE.0 && kind < Kind::APPLICATION.0 {
            damaged("row.kind", format!("kind {kind:#x} is unknown"));
        }
        let named = words.name != Name::NONE;
        if words.id == 0 {
            damaged("row.identifier", "its identifier is 0".to_owned());
        } else if named && Id::from_name(words.name.as_bytes()).get() != words.id {
            let what = format!("its identifier {:#018x} does not match its name", words.id);
            damaged("row.identifier", what);
        }
        let (first, count) = self.run(scene.registry.geometry().block_size);
        let blocks = scene.registry.tables().blocks;
        if words.segment.is_err() || first.saturating_add(count) > blocks {
            let what = format!(
                "{} bytes from block {first} are not inside the region's {blocks} blocks",
                words.length
            );
            damaged("row.extent", what);
        }
    }
}

impl Scene<'_> {
    /// Returns true if all rows are available.
    pub(super) fn has_rows(&self) -> bool {
        self.available >= self.registry.tables().map
    }
}
