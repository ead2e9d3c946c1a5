//! A report as text.

mod locks;
mod names;
mod tables;

use std::fmt::Write;

use crate::report::{Header, Report, Source, Table};
use crate::text::{bytes, count};

/// Returns the report as text, with tables at most `width` columns wide if that is given.
pub fn text(report: &Report, width: Option<u16>) -> String {
    let mut out = String::new();
    head(&mut out, report);
    let tables = [
        tables::partitions(report, width),
        tables::segments(report, width),
        tables::unfinished(report, width),
        tables::rings(report, width),
        tables::typed_rings(report, width),
        tables::call_lines(report, width),
        tables::snapshots(report, width),
        locks::table(report, width),
        tables::unread(report, width),
    ];
    for table in tables.into_iter().flatten() {
        let _ = writeln!(out, "\n{table}");
    }
    out.push('\n');
    for finding in &report.findings {
        let _ = writeln!(out, "{finding}");
    }
    if report.more_findings != 0 {
        let _ = writeln!(out, "and {} more", report.more_findings);
    }
    if report.sound {
        out.push_str("sound\n");
    }
    out
}

fn head(out: &mut String, report: &Report) {
    let source = match report.source {
        Source::Live => "live",
        Source::Dump => "dump",
    };
    let at = match report.offset {
        0 => String::new(),
        offset => format!(" at {offset:#x}"),
    };
    let available = bytes(report.bytes);
    line(
        out,
        "region",
        format_args!("{}{at}, {source}, {available}", report.place),
    );
    match &report.header {
        Some(header) => line(out, "header", describe_header(header)),
        None => line(out, "header", "none"),
    }
    match &report.registry {
        Some(table) => {
            line(out, "registry", describe_table(table));
            line(out, "space", describe_space(table));
        }
        None => line(out, "registry", "none"),
    }
}

fn line(out: &mut String, what: &str, text: impl std::fmt::Display) {
    let _ = writeln!(out, "{what:<10}{text}");
}

fn describe_header(header: &Header) -> String {
    format!(
        "magic {}, version {}, features {:#x}, generation {}, {} bytes",
        header.magic, header.version, header.features, header.generation, header.length
    )
}

fn describe_table(table: &Table) -> String {
    format!(
        "{} of {} used, {}, blocks of {}",
        table.rows_used,
        count(table.rows, "row"),
        count(table.partitions, "partition slot"),
        bytes(table.block_bytes as u64)
    )
}

fn describe_space(table: &Table) -> String {
    let free = (table.blocks_free * table.block_bytes) as u64;
    format!(
        "{} of {} free ({}), {} in one piece",
        table.blocks_free,
        count(table.blocks, "block"),
        bytes(free),
        table.largest_free_run
    )
}
