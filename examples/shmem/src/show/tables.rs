//! Tables: partitions, segments, rings, snapshots.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::names::{incarnation, segment_name};
use crate::report::{Claim, Contents, Partition, Report, Ring};

/// Returns a table with these columns, or `None` if there are no rows. Columns that start with
/// `>` are numbers.
pub(super) fn table(
    columns: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
    width: Option<u16>,
) -> Option<String> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(columns.iter().map(|column| column.trim_start_matches('>')));
    table.add_rows(rows);
    if table.row_count() == 0 {
        return None;
    }
    match width {
        Some(width) => table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    for (column, name) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        if name.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Some(table.trim_fmt())
}

pub(super) fn partitions(report: &Report, width: Option<u16>) -> Option<String> {
    let columns = ["PARTITION", "INCARNATION", "STATE", ">HEARTBEAT", "PROCESS"];
    let rows = report.partitions.iter().map(|partition| {
        vec![
            partition.number.to_string(),
            partition.incarnation.map_or("-".to_owned(), incarnation),
            state(partition).to_owned(),
            heartbeat(partition),
            process(partition),
        ]
    });
    table(&columns, rows, width)
}

fn state(partition: &Partition) -> &'static str {
    match (partition.incarnation, partition.attached) {
        (None, _) => "damaged",
        (_, true) => "attached",
        (_, false) => "left",
    }
}

fn heartbeat(partition: &Partition) -> String {
    let moves = match partition.moves {
        Some(true) => " moves",
        Some(false) => " still",
        None => "",
    };
    format!("{}{moves}", partition.heartbeat)
}

fn process(partition: &Partition) -> String {
    let Some(process) = partition.process else {
        return "-".to_owned();
    };
    let state = match (process.on_this_kernel, process.alive) {
        (_, Some(true)) => " alive",
        (_, Some(false)) => " ended",
        (Some(false), None) => " elsewhere",
        _ => "",
    };
    format!("{}{state}", process.number)
}

pub(super) fn segments(report: &Report, width: Option<u16>) -> Option<String> {
    let columns = [
        "SEGMENT",
        "KIND",
        ">OFFSET",
        ">LENGTH",
        ">ROW",
        ">GEN",
        "IDENTIFIER",
    ];
    let rows = report.segments.iter().map(|segment| {
        vec![
            segment_name(&segment.name, segment.row),
            segment.kind.clone(),
            segment.offset.to_string(),
            segment.length.to_string(),
            segment.row.to_string(),
            segment.generation.to_string(),
            segment.id.clone(),
        ]
    });
    table(&columns, rows, width)
}

pub(super) fn unfinished(report: &Report, width: Option<u16>) -> Option<String> {
    let columns = [">UNFINISHED ROW", ">GEN", "OWNER", "SEGMENT", "STATE"];
    let rows = report.unfinished.iter().map(|row| {
        let name = if row.name.is_empty() { "-" } else { &row.name };
        vec![
            row.row.to_string(),
            row.generation.to_string(),
            row.owner.map_or("-".to_owned(), incarnation),
            name.to_owned(),
            row.state.to_owned(),
        ]
    });
    table(&columns, rows, width)
}

pub(super) fn rings(report: &Report, width: Option<u16>) -> Option<String> {
    let columns = [
        "RING",
        ">FILL/CAPACITY",
        ">RECORDS",
        "PRODUCER",
        "CONSUMER",
        ">DISCARDED",
        "ARMED",
    ];
    let rings = report.segments.iter().filter_map(|segment| {
        let Some(Contents::Ring(ring)) = &segment.contents else {
            return None;
        };
        Some(vec![
            segment_name(&segment.name, segment.row),
            format!("{}/{}", ring.fill_bytes, ring.capacity),
            records(ring),
            claim(ring.producer),
            claim(ring.consumer),
            ring.discarded.to_string(),
            armed(ring),
        ])
    });
    table(&columns, rings, width)
}

pub(super) fn typed_rings(report: &Report, width: Option<u16>) -> Option<String> {
    let columns = [
        "TYPED RING",
        ">RECORDS",
        ">BYTES EACH",
        "PRODUCER",
        "CONSUMER",
        ">DISCARDED",
    ];
    let rings = report.segments.iter().filter_map(|segment| {
        let Some(Contents::TypedRing(ring)) = &segment.contents else {
            return None;
        };
        Some(vec![
            segment_name(&segment.name, segment.row),
            ring.records.to_string(),
            ring.record_bytes.to_string(),
            claim(ring.producer),
            claim(ring.consumer),
            ring.discarded.to_string(),
        ])
    });
    table(&columns, rings, width)
}

fn records(ring: &Ring) -> String {
    let end = match ring.counted_to {
        "moving" => "~",
        "end" => "",
        _ => "+",
    };
    match ring.earlier {
        0 => format!("{}{end}", ring.records),
        earlier => format!("{}{end} ({earlier} old)", ring.records),
    }
}

/// Returns incarnation and epoch; in brackets if the end is released.
fn claim(claim: Claim) -> String {
    match (claim.incarnation, claim.held) {
        (None, _) => "-".to_owned(),
        (Some(holder), true) => format!("{} #{}", incarnation(holder), claim.epoch),
        (Some(holder), false) => format!("({}) #{}", incarnation(holder), claim.epoch),
    }
}

fn armed(ring: &Ring) -> String {
    let bells = [(ring.records_bell, "records"), (ring.space_bell, "space")];
    let armed: Vec<_> = bells
        .iter()
        .filter(|(bell, _)| bell.armed)
        .map(|&(_, name)| name)
        .collect();
    match armed[..] {
        [] => "-".to_owned(),
        _ => armed.join(" "),
    }
}

/// Returns the first unread records, up to the requested number.
pub(super) fn unread(report: &Report, width: Option<u16>) -> Option<String> {
    let columns = ["UNREAD IN", ">POSITION", ">LENGTH", "EPOCHS", "BYTES"];
    let rows = report.segments.iter().flat_map(|segment| {
        let records = match &segment.contents {
            Some(Contents::Ring(ring)) => &ring.unread[..],
            _ => &[],
        };
        records.iter().map(|record| {
            let shown = record.hex.len() / 2;
            let more = if shown < record.bytes { "..." } else { "" };
            vec![
                segment_name(&segment.name, segment.row),
                record.position.to_string(),
                record.bytes.to_string(),
                format!("#{} to #{}", record.producer_epoch, record.consumer_epoch),
                format!("\"{}\"{more}", record.text),
            ]
        })
    });
    table(&columns, rows, width)
}

pub(super) fn call_lines(report: &Report, width: Option<u16>) -> Option<String> {
    let columns = ["CALL LINE", ">ASKED", ">ANSWERED", ">BY RING"];
    let rows = report.segments.iter().filter_map(|segment| {
        let Some(Contents::CallLine(line)) = &segment.contents else {
            return None;
        };
        Some(vec![
            segment_name(&segment.name, segment.row),
            line.asked.to_string(),
            line.answered.to_string(),
            line.started.to_string(),
        ])
    });
    table(&columns, rows, width)
}

pub(super) fn snapshots(report: &Report, width: Option<u16>) -> Option<String> {
    let columns = ["SNAPSHOT", ">SEQUENCE", ">LENGTH"];
    let rows = report.segments.iter().filter_map(|segment| {
        let Some(Contents::Snapshot(snapshot)) = &segment.contents else {
            return None;
        };
        let len = snapshot.bytes.map_or("-".to_owned(), |len| len.to_string());
        Some(vec![
            segment_name(&segment.name, segment.row),
            snapshot.sequence.to_string(),
            len,
        ])
    });
    table(&columns, rows, width)
}
