//! `kmlist`: lists the instances.

use std::time::Duration;

use kmon_protocol::link::{Finding, Verdict};
use serde::Serialize;

use super::line::JsonArgs;
use super::print::{print, print_json};
use super::rates::{cpu_percent, two_digits};
use super::session::Session;
use crate::instance::shared::View;
use crate::instance::state::State;
use crate::kind::Transport;
use crate::monitor::Instance;
use crate::text;

#[derive(Serialize)]
struct List {
    instances: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    number: u8,
    name: String,
    kind: &'static str,
    /// Only for a machine.
    transport: Option<Transport>,
    /// Where the region of an external instance is.
    region: Option<String>,
    /// Whether compare-and-swap and full fences work across its memory.
    memory: Option<Memory>,
    state: &'static str,
    detail: Option<String>,
    pid: Option<i32>,
    uptime_s: Option<u64>,
    cpu_percent: Option<f64>,
    memory_used_kb: Option<u64>,
    memory_total_kb: Option<u64>,
    unseen_bytes: u64,
    /// Unseen bytes of its kernel's log.
    kernel_unseen_bytes: u64,
    dropped_bytes: u64,
    /// The number of guestd's incarnation in this region.
    incarnation: Option<u32>,
    discarded_commands: u64,
    #[serde(skip)]
    shown_state: String,
}

#[derive(Serialize)]
struct Memory {
    read_modify_write: &'static str,
    fences: &'static str,
}

impl Memory {
    fn from_verdict(verdict: &Verdict) -> Self {
        let word = |finding| match finding {
            Finding::Works => "works",
            Finding::Broken { .. } => "broken",
            Finding::Unknown => "unknown",
        };
        Self {
            read_modify_write: word(verdict.read_modify_write),
            fences: word(verdict.fences),
        }
    }
}

pub(super) fn run(session: &Session, args: &JsonArgs) -> anyhow::Result<()> {
    let instances: Vec<_> = session.monitor.instances().map(row).collect();
    if args.json {
        return print_json(&List { instances });
    }
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

fn row(instance: &Instance) -> Row {
    let view = instance.shared.lock();
    let alive = view.state.is_alive();
    // The last reading of an instance that is not running is out of date.
    let stats = view.stats.as_ref().filter(|_| view.state == State::Running);
    let percent = match (&view.earlier_stats, stats) {
        (Some(earlier), Some(stats)) => Some(two_digits(cpu_percent(earlier, stats).0)),
        _ => None,
    };
    Row {
        number: instance.number,
        name: instance.name.clone(),
        kind: instance.kind.word(),
        transport: instance.kind.transport(),
        region: instance.kind.region().map(ToString::to_string),
        memory: view
            .memory
            .as_ref()
            .filter(|_| alive)
            .map(Memory::from_verdict),
        state: view.state.word(),
        detail: view.state.detail(),
        pid: view.pid.filter(|_| alive),
        uptime_s: alive.then(|| view.started.elapsed().as_secs()),
        cpu_percent: percent,
        memory_used_kb: stats.map(|stats| {
            stats
                .memory_total_kb
                .saturating_sub(stats.memory_available_kb)
        }),
        memory_total_kb: stats.map(|stats| stats.memory_total_kb),
        unseen_bytes: view.log.unseen(),
        kernel_unseen_bytes: view.kernel_log.unseen(),
        dropped_bytes: view.log.dropped(),
        incarnation: Some(view.log.incarnation()).filter(|&incarnation| alive && incarnation > 0),
        discarded_commands: view.log.discarded(),
        shown_state: shown_state(&view),
    }
}

fn shown_state(view: &View) -> String {
    let mut state = view.state.to_string();
    if !view.state.is_alive() {
        return state;
    }
    if let incarnation @ 2.. = view.log.incarnation() {
        state.push_str(&format!(", incarnation {incarnation}"));
    }
    if let Some(verdict) = &view.memory {
        if verdict.read_modify_write.is_broken() {
            state.push_str(", no compare-and-swap");
        }
        if verdict.fences.is_broken() {
            state.push_str(", no fences");
        }
    }
    state
}

fn cells(row: Row) -> Vec<String> {
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
            None => row.kind.to_owned(),
        },
        // The last column: the cause of an instance's death may be long.
        row.shown_state,
    ]
}
