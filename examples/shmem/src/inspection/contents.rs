//! The content of each segment, by its kind.

use shmem_core::call::CallLine;
use shmem_core::snapshot::{ReadError, Reader};
use shmem_core::{Incarnation, Window};
use shmem_registry::Kind;

use super::rows::{Entry, Rows};
use super::scene::Scene;
use crate::finding::Findings;
use crate::report::{self, Contents, IncarnationView, Segment};

/// Reads every segment in the table.
pub(super) fn read(scene: &Scene<'_>, rows: &Rows<'_>, findings: &mut Findings) -> Vec<Segment> {
    // Segments do not overlap: together they have at most this many bytes.
    let mut budget = scene.available;
    let listed = rows.iter().filter(|entry| entry.is_listed());
    listed
        .map(|entry| segment(scene, entry, &mut budget, findings))
        .collect()
}

fn segment(
    scene: &Scene<'_>,
    entry: &Entry<'_>,
    budget: &mut usize,
    findings: &mut Findings,
) -> Segment {
    let words = &entry.words;
    let mut found = findings.new_with_remaining_space();
    let mut inside = Inside {
        scene,
        at: &entry.at,
        findings: &mut found,
    };
    let contents = match &words.segment {
        Ok(segment) if !words.moving => inside.open(segment, budget),
        _ => None,
    };
    // If the segment was removed meanwhile, its bytes may belong to another.
    let contents = contents.filter(|_| found.is_empty() || entry.is_unchanged(scene));
    if contents.is_some() || entry.is_unchanged(scene) {
        findings.append(found);
    }
    let (first, _) = entry.run(scene.registry.geometry().block_size);
    let tables = scene.registry.tables();
    Segment {
        row: words.row,
        generation: words.generation(),
        id: format!("{:#018x}", words.id),
        name: entry.name(),
        kind: kind_name(words.kind),
        kind_number: words.kind.0,
        offset: tables.data + first.min(tables.blocks) * scene.registry.geometry().block_size,
        length: words.length,
        contents,
    }
}

/// Returns one word for each kind.
fn kind_name(kind: Kind) -> String {
    match kind {
        Kind::BAKERY => "bakery".to_owned(),
        Kind::RWLOCK => "rwlock".to_owned(),
        Kind::TYPED_RING => "typed-ring".to_owned(),
        Kind::CALL_LINE => "call-line".to_owned(),
        // A kind of an application, or an unknown one.
        Kind(number) if number > Kind::CALL_LINE.0 => format!("{number:#x}"),
        named => named.to_string(),
    }
}

/// Reads the content of one segment.
pub(super) struct Inside<'s, 'm> {
    pub(super) scene: &'s Scene<'m>,
    pub(super) at: &'s str,
    findings: &'s mut Findings,
}

impl Inside<'_, '_> {
    /// Reads a segment if all of it is available, and if it fits into the `budget` of bytes.
    fn open(
        &mut self,
        segment: &shmem_registry::Segment<'_>,
        budget: &mut usize,
    ) -> Option<Contents> {
        let len = segment.window().len();
        if segment.offset() + len > self.scene.available {
            self.damaged("row.cut", "cut off: some of its bytes are missing");
            return None;
        }
        let Some(left) = budget.checked_sub(len) else {
            self.damaged(
                "row.overlap",
                "not inspected: the segments are together longer than the region",
            );
            return None;
        };
        *budget = left;
        self.read(segment.kind(), segment.window())
    }

    fn read(&mut self, kind: Kind, window: Window<'_>) -> Option<Contents> {
        match kind {
            Kind::RING => self.ring(window).map(Contents::Ring),
            Kind::TYPED_RING => self.typed_ring(window).map(Contents::TypedRing),
            Kind::SNAPSHOT => self.snapshot(window).map(Contents::Snapshot),
            Kind::MUTEX => self.mutex(window).map(Contents::Mutex),
            Kind::BAKERY => self.bakery(window).map(Contents::Bakery),
            Kind::SEMAPHORE => self.semaphore(window).map(Contents::Semaphore),
            Kind::RWLOCK => self.rwlock(window).map(Contents::RwLock),
            Kind::BARRIER => self.barrier(window).map(Contents::Barrier),
            Kind::CALL_LINE => self.call_line(window).map(Contents::CallLine),
            _ => None,
        }
    }

    pub(super) fn damaged(&mut self, code: &'static str, what: impl std::fmt::Display) {
        self.findings.damaged(code, self.at, what);
    }

    pub(super) fn left(&mut self, code: &'static str, what: impl std::fmt::Display) {
        self.findings.left(code, self.at, what);
    }

    /// Returns the view of `incarnation`. Reports a finding with `what` if it is gone.
    pub(super) fn holder(
        &mut self,
        incarnation: Incarnation,
        code: &'static str,
        what: impl std::fmt::Display,
    ) -> IncarnationView {
        let view = self.scene.incarnations.view(incarnation);
        if view.gone == Some(true) {
            self.left(code, format_args!("{what} {incarnation}, which is gone"));
        }
        view
    }

    /// Returns an attached control structure. Reports a finding if the segment has a wrong length.
    pub(super) fn attached<T, E: std::fmt::Display>(&mut self, result: Result<T, E>) -> Option<T> {
        result
            .map_err(|error| self.damaged("segment.length", error))
            .ok()
    }

    fn call_line(&mut self, window: Window<'_>) -> Option<report::CallLine> {
        let line = self.attached(CallLine::attach(window))?.inspect();
        Some(report::CallLine {
            asked: line.asked,
            answered: line.answered,
            started: line.started,
        })
    }

    fn snapshot(&mut self, window: Window<'_>) -> Option<report::Snapshot> {
        let reader = self.attached(Reader::attach(window))?;
        let sequence = reader.sequence();
        let bytes = match reader.read(&mut []) {
            Ok(len) | Err(ReadError::TooLong { len }) => Some(len),
            Err(ReadError::Corrupt(corrupt)) => {
                let what = format!(
                    "its value has {:#x} bytes, which is too long",
                    corrupt.value
                );
                self.damaged("snapshot.length", what);
                None
            }
            Err(_) => None,
        };
        Some(report::Snapshot { sequence, bytes })
    }
}
