//! The results and the goals, and their tables.

use std::process::Command;

use comfy_table::{CellAlignment, Table, presets};
use procfs::{CpuInfo, Current, LoadAverage};
use serde::Serialize;

use crate::names::{DOORBELL, NOTHING, POLLED, SERIAL, VIRTIO};
use crate::spans::Span;
use crate::talk::{Flood, RoundTrip};

#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) quick: bool,
    pub(crate) machine: Machine,
    pub(crate) floods: Vec<Flood>,
    pub(crate) round_trips: Vec<RoundTrip>,
    pub(crate) spans: Vec<Span>,
    pub(crate) goals: Vec<Goal>,
}

/// The machine of the measurement.
#[derive(Serialize)]
pub(crate) struct Machine {
    processor: String,
    processors: usize,
    /// The load of the last minute, at the beginning.
    load: f32,
    qemu: String,
    pub(crate) guest_kernel: String,
}

#[derive(Serialize)]
pub(crate) struct Goal {
    what: String,
    value: f64,
    /// The minimum if `at_least`, otherwise the maximum.
    limit: f64,
    at_least: bool,
    met: bool,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let cpus = CpuInfo::current();
        let model = cpus.map(|cpus| cpus.model_name(0).unwrap_or_default().to_owned());
        let load = LoadAverage::current().map_or(f32::NAN, |load| load.one);
        let version = Command::new("qemu-system-x86_64").arg("--version").output();
        let version = version.map(|shown| String::from_utf8_lossy(&shown.stdout).into_owned());
        let version = version.unwrap_or_default();
        Self {
            processor: model.unwrap_or_default(),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            load,
            qemu: version.lines().next().unwrap_or_default().to_owned(),
            guest_kernel: String::new(),
        }
    }
}

impl Goal {
    fn at_least(what: String, value: f64, limit: f64) -> Self {
        Self {
            what,
            value,
            limit,
            at_least: true,
            met: value >= limit,
        }
    }

    fn at_most(what: String, value: f64, limit: f64) -> Self {
        Self {
            what,
            value,
            limit,
            at_least: false,
            met: value <= limit,
        }
    }
}

impl Report {
    /// Compares the results with the goals.
    pub(crate) fn check_goals(&mut self) {
        let mut goals = Vec::new();
        for ours in [POLLED, DOORBELL] {
            for (peer, limit) in [(SERIAL, 20.0), (VIRTIO, 1.0)] {
                let ratio = self.rate(ours) / self.rate(peer);
                let what = format!("throughput: {ours} / {peer}");
                goals.push(Goal::at_least(what, ratio, limit));
            }
            for (peer, limit) in [(SERIAL, 0.5), (VIRTIO, 1.0)] {
                for (typed, kind) in [(true, "typed"), (false, "at once")] {
                    let ratio = self.median(ours, typed) / self.median(peer, typed);
                    let what = format!("round trip, {kind}: {ours} / {peer}");
                    goals.push(Goal::at_most(what, ratio, limit));
                }
            }
        }
        self.goals = goals;
        // A guest is not idle shortly after its boot.
        if !self.quick {
            self.check_idle_goals();
        }
    }

    fn check_idle_goals(&mut self) {
        let mut goals = Vec::new();
        if let (Some(nothing), Some(polled)) = (self.span(NOTHING), self.span(POLLED)) {
            let more = polled.guest_percent - nothing.guest_percent;
            let what = format!("idle guest, %: {POLLED} - {NOTHING}");
            goals.push(Goal::at_most(what, more, 0.5));
        }
        if let Some(span) = self.span(DOORBELL) {
            let what =
                format!("idle, wake-ups of guestd per second, without its heartbeat: {DOORBELL}");
            let woken = (span.daemon.wakeups - 1.0).max(0.0);
            goals.push(Goal::at_most(what, woken, 0.05));
        }
        self.goals.extend(goals);
    }

    pub(crate) fn rate(&self, terminal: &str) -> f64 {
        let mut floods = self.floods.iter();
        let flood = floods.find(|flood| flood.terminal == terminal);
        flood.map_or(f64::NAN, |flood| flood.median)
    }

    pub(crate) fn median(&self, terminal: &str, typed: bool) -> f64 {
        let mut rows = self.round_trips.iter();
        let row = rows.find(|row| row.terminal == terminal && row.typed == typed);
        row.map_or(f64::NAN, |row| row.p50_us)
    }

    pub(crate) fn span(&self, name: &str) -> Option<&Span> {
        self.spans.iter().find(|span| span.name == name)
    }

    /// Returns the report as text.
    pub(crate) fn show(&self) -> String {
        let machine = &self.machine;
        let head = format!(
            "{} processors, {}, load {}; {}; guest: Linux {}, one processor",
            machine.processors, machine.processor, machine.load, machine.qemu, machine.guest_kernel
        );
        let parts = [
            head,
            self.show_floods(),
            self.show_round_trips(),
            self.show_spans(),
            self.show_goals(),
        ];
        parts.join("\n\n")
    }

    fn show_floods(&self) -> String {
        let mut table = table(&[
            "console throughput",
            "MB/s",
            "x ttyS0",
            "x hvc0",
            "bytes lost",
        ]);
        for flood in &self.floods {
            let times = |peer| format!("{:.2}", flood.median / self.rate(peer));
            table.add_row([
                format!("{}, {} bytes", flood.terminal, flood.bytes),
                format!("{:.3}", flood.median),
                times(SERIAL),
                times(VIRTIO),
                flood.lost.to_string(),
            ]);
        }
        table.to_string()
    }

    fn show_round_trips(&self) -> String {
        let mut table = table(&[
            "line and answer",
            "lines",
            "p50 µs",
            "p95",
            "p99",
            "x ttyS0",
            "x hvc0",
        ]);
        for row in &self.round_trips {
            let times = |peer| format!("{:.2}", row.p50_us / self.median(peer, row.typed));
            let kind = if row.typed { "typed" } else { "at once" };
            table.add_row([
                format!("{}, {kind}", row.terminal),
                row.count.to_string(),
                format!("{:.0}", row.p50_us),
                format!("{:.0}", row.p95_us),
                format!("{:.0}", row.p99_us),
                times(SERIAL),
                times(VIRTIO),
            ]);
        }
        table.to_string()
    }

    fn show_spans(&self) -> String {
        let mut table = table(&[
            "idle",
            "guest %",
            "guest switches/s",
            "guestd %",
            "guestd wake-ups/s",
            "its statistics %",
            "QEMU %",
            "QEMU wake-ups/s",
            "monitor %",
        ]);
        for span in &self.spans {
            table.add_row([
                span.name.to_owned(),
                format!("{:.2}", span.guest_percent),
                format!("{:.1}", span.guest_switches),
                format!("{:.3}", span.daemon.percent),
                format!("{:.2}", span.daemon.wakeups),
                format!("{:.3}", span.readings.percent),
                format!("{:.2}", span.qemu.percent),
                format!("{:.1}", span.qemu.wakeups),
                format!("{:.2}", span.monitor.percent),
            ]);
        }
        table.to_string()
    }

    fn show_goals(&self) -> String {
        let mut table = table(&["goal", "result", "limit", ""]);
        for goal in &self.goals {
            let sign = if goal.at_least { ">=" } else { "<=" };
            table.add_row([
                goal.what.clone(),
                format!("{:.2}", goal.value),
                format!("{sign} {}", goal.limit),
                if goal.met { "met" } else { "MISSED" }.to_owned(),
            ]);
        }
        table.to_string()
    }
}

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(head);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
