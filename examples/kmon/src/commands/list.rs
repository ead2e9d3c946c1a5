//! `kmlist`: lists the instances.

use std::time::Duration;

use super::arguments::JsonArgs;
use super::print::{print, print_json};
use super::session::Session;
use crate::api::instances::{List, Row};
use crate::text;

pub(super) fn run(session: &Session, args: &JsonArgs) -> anyhow::Result<()> {
    let list = if session.client.has_server() || session.client.revives() {
        session.client.get("/v1/instances")?
    } else {
        List::default()
    };
    if args.json {
        return print_json(&list);
    }
    let List { instances } = list;
    if instances.is_empty() {
        return print("no instances; kmload starts one");
    }
    let mut table = comfy_table::Table::new();
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header([
        "N", "NAME", "PID", "UPTIME", "CPU", "MEMORY", "UNSEEN", "DROPPED", "KIND", "STATE",
    ]);
    for row in instances {
        table.add_row(cells(row));
    }
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    print(&table.trim_fmt())
}

fn shown_state(row: &Row) -> String {
    let mut state = match &row.detail {
        Some(detail) => format!("{}: {}", row.state, text::escaped(detail)),
        None => row.state.clone(),
    };
    if let Some(incarnation @ 2..) = row.incarnation {
        state.push_str(&format!(", incarnation {incarnation}"));
    }
    if let Some(memory) = &row.memory {
        if memory.read_modify_write == "broken" {
            state.push_str(", no compare-and-swap");
        }
        if memory.fences == "broken" {
            state.push_str(", no fences");
        }
    }
    state
}

fn cells(row: Row) -> Vec<String> {
    let state = shown_state(&row);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let memory = row
        .memory_used_kb
        .zip(row.memory_total_kb)
        .map(|(used, total)| {
            let (used, total) = (used.saturating_mul(1024), total.saturating_mul(1024));
            format!("{}/{}", text::bytes(used), text::bytes(total))
        });
    let uptime = row.uptime_s.map(|s| text::duration(Duration::from_secs(s)));
    vec![
        row.number.to_string(),
        row.name,
        or_dash(row.pid.map(|pid| pid.to_string())),
        or_dash(uptime),
        or_dash(row.cpu_percent.map(|percent| format!("{percent:.2}%"))),
        or_dash(memory),
        text::bytes(row.unseen_bytes),
        text::bytes(row.dropped_bytes),
        match row.transport {
            Some(transport) => format!("{} ({transport})", row.kind),
            None => row.kind,
        },
        // The last column: the cause of an instance's death may be long.
        state,
    ]
}
