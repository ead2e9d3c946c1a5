//! One inspection of a region: its content, and what is wrong with it.
//!
//! It only loads, whatever the bytes are. It does not panic, does not access anything outside
//! the memory, and its time is bounded by the length of the memory.

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
use shmem_registry::{Registry, RegistryError};

use crate::finding::Findings;
use crate::memory::Private;
use crate::report::{Offsets, Report, Table};
use rows::Rows;
use scene::Scene;
pub use subject::Subject;

/// The options of an inspection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// How many unread records of each ring to return.
    pub records: usize,
}

/// Inspects a region once.
pub fn inspect(subject: &Subject<'_>, options: &Options) -> Report {
    let mut report = Report {
        place: subject.place.to_owned(),
        source: subject.source,
        offset: subject.offset,
        bytes: subject.available as u64,
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
        header::Next::Attach => {
            inspect_rest(subject, subject.memory, options, &mut report, &mut findings)
        }
        header::Next::Repair(len) => {
            match Private::repaired(subject.memory, subject.available, len) {
                Ok(copy) => {
                    inspect_rest(subject, copy.window(), options, &mut report, &mut findings)
                }
                Err(error) => findings.damaged(
                    "header.length",
                    "header",
                    format_args!("no memory to read {len} bytes: {error}"),
                ),
            }
        }
        header::Next::Stop => {}
    }
    report.sound = findings.kept.is_empty();
    report.findings = findings.kept;
    report.more_findings = findings.more;
    report
}

/// Inspects everything after the header, which is sound in `memory`.
fn inspect_rest(
    subject: &Subject<'_>,
    memory: Window<'_>,
    options: &Options,
    report: &mut Report,
    findings: &mut Findings,
) {
    let region = match Region::attach(memory) {
        Ok(region) => region,
        // The header has changed since it was read.
        Err(error) => return findings.damaged("header.magic", "header", error),
    };
    let registry = match Registry::attach(region) {
        Ok(registry) => registry,
        Err(RegistryError::NotFormatted) => return,
        Err(RegistryError::Corrupt(corrupt)) => {
            let what = format_args!("its geometry {:#x} is invalid", corrupt.value);
            return findings.damaged("registry.geometry", "registry", what);
        }
        Err(error) => return findings.damaged("registry.geometry", "registry", error),
    };
    let (partitions, incarnations) = partitions::read(&registry, subject.source, findings);
    report.partitions = partitions;
    let scene = Scene {
        registry,
        incarnations,
        available: subject.available,
        records: options.records,
    };
    scene.inspect(report, findings);
}

impl Scene<'_> {
    fn inspect(&self, report: &mut Report, findings: &mut Findings) {
        let tables = self.registry.tables();
        let geometry = self.registry.geometry();
        if !self.has_rows() {
            // The missing part is zero here, and contradicts the rest.
            let what = format_args!("ends inside the tables: rows are missing");
            findings.damaged("registry.cut", "registry", what);
        }
        let rows = Rows::read(self, findings);
        report.segments = contents::read(self, &rows, findings);
        report.unfinished = rows.unfinished(self, findings);
        let space = blocks::check(self, &rows, findings);
        report.registry = Some(Table {
            rows: geometry.segments,
            rows_used: rows.used(),
            partitions: geometry.partitions,
            block_bytes: geometry.block_size,
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
