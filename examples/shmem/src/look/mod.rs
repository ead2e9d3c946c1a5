//! One look at a region: everything that is in it, and what is wrong with it.
//!
//! Only loads, whatever the bytes are: no panic, nothing outside the memory, and
//! no more work than the memory is long.

mod blocks;
mod chains;
mod contents;
mod header;
mod incarnations;
mod locks;
mod partitions;
mod rings;
mod rows;
mod scene;
mod subject;

use shmem_core::{Region, Window};
use shmem_registry::{FormatError, Registry};

use crate::finding::Findings;
use crate::memory::Private;
use crate::report::{Offsets, Report, Table};
use rows::Rows;
use scene::Scene;
pub use subject::Subject;

/// How closely.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Unread records of each ring to show.
    pub records: usize,
}

/// Looks once.
pub fn look(subject: &Subject<'_>, options: &Options) -> Report {
    let mut report = Report {
        place: subject.place.to_owned(),
        source: subject.source,
        offset: subject.offset,
        bytes: subject.there as u64,
        header: None,
        registry: None,
        partitions: Vec::new(),
        segments: Vec::new(),
        unfinished: Vec::new(),
        findings: Vec::new(),
        more_findings: 0,
        sound: false,
    };
    let mut findings = Findings::new();
    let (header, next) = header::read(subject, &mut findings);
    report.header = header;
    match next {
        header::Next::Attach => enter(subject, subject.memory, options, &mut report, &mut findings),
        header::Next::Repair(len) => match Private::repaired(subject.memory, subject.there, len) {
            Ok(copy) => enter(subject, copy.window(), options, &mut report, &mut findings),
            Err(error) => findings.damaged(
                "header.length",
                "header",
                format_args!("no memory to read {len} bytes in spite of that: {error}"),
            ),
        },
        header::Next::Stop => {}
    }
    report.sound = findings.kept.is_empty();
    report.findings = findings.kept;
    report.more_findings = findings.more;
    report
}

/// Looks behind the header, which is sound in `memory`.
fn enter(
    subject: &Subject<'_>,
    memory: Window<'_>,
    options: &Options,
    report: &mut Report,
    findings: &mut Findings,
) {
    let region = match Region::attach(memory) {
        Ok(region) => region,
        // It was sound a moment ago.
        Err(error) => return findings.damaged("header.magic", "header", error),
    };
    let registry = match Registry::attach(region) {
        Ok(registry) => registry,
        Err(FormatError::NotFormatted) => return,
        Err(FormatError::Corrupt(corrupt)) => {
            let what = format_args!("its geometry {:#x} is none", corrupt.value);
            return findings.damaged("registry.geometry", "registry", what);
        }
        Err(error) => return findings.damaged("registry.geometry", "registry", error),
    };
    let (partitions, incarnations) = partitions::look(&registry, subject.source, findings);
    report.partitions = partitions;
    let scene = Scene {
        registry,
        incarnations,
        there: subject.there,
        records: options.records,
    };
    scene.look(report, findings);
}

impl Scene<'_> {
    fn look(&self, report: &mut Report, findings: &mut Findings) {
        let tables = self.registry.tables();
        let geometry = self.registry.geometry();
        if !self.has_rows() {
            // What was cut off is zero here, and contradicts what was not.
            let what = format_args!("ends inside the tables: rows are missing");
            findings.damaged("registry.cut", "registry", what);
        }
        let rows = Rows::read(self, findings);
        report.segments = contents::look(self, &rows, findings);
        report.unfinished = rows.unfinished(self, findings);
        let space = blocks::look(self, &rows, findings);
        report.registry = Some(Table {
            rows: geometry.segments,
            rows_used: rows.used(),
            partitions: geometry.partitions,
            block_bytes: geometry.block,
            blocks: tables.blocks,
            blocks_free: space.free,
            largest_free_run: space.largest_run,
            offsets: Offsets {
                partitions: tables.partitions,
                index: tables.index,
                rows: tables.rows,
                map: tables.map,
                blocks: tables.data,
            },
        });
    }
}
