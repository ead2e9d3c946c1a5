//! `kmmonitorall`: prints network, memory and processor of every instance in the paper's format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use kmon_protocol::Stats;
use serde::Serialize;

use super::line::MonitorArgs;
use super::print::{print, print_json};
use super::rates::{InterfaceRates, cpu_percent, interface_rates, interval, two_digits};
use super::session::Session;
use crate::instance::state::State;
use crate::monitor::Instance;
use crate::text::escaped;

#[derive(Serialize)]
struct Tick {
    instances: Vec<Report>,
}

/// One instance in one tick.
#[derive(Serialize)]
struct Report {
    number: u8,
    name: String,
    state: &'static str,
    detail: Option<String>,
    /// True if this reading differs from that of the last tick.
    new: bool,
    /// Seconds between the two readings from which the rates are computed.
    interval_s: Option<f64>,
    uptime_ms: Option<u64>,
    load: Option<[f64; 3]>,
    interfaces: Vec<InterfaceReport>,
    memory: Option<MemoryReport>,
    cpu: Option<CpuReport>,
    dropped_bytes: u64,
    #[serde(skip)]
    shown_state: String,
}

#[derive(Serialize)]
struct InterfaceReport {
    name: String,
    rx_bytes: u64,
    rx_packets: u64,
    tx_bytes: u64,
    tx_packets: u64,
    #[serde(flatten)]
    rates: InterfaceRates,
}

#[derive(Serialize)]
struct MemoryReport {
    total_kb: u64,
    free_kb: u64,
    available_kb: u64,
}

#[derive(Serialize)]
struct CpuReport {
    percent: f64,
    cpus: Vec<f64>,
}

pub(super) fn run(session: &Session, args: &MonitorArgs) -> anyhow::Result<()> {
    let delay = Duration::from_secs_f64(args.delay);
    wait_for_rates(session);
    let mut earlier = BTreeMap::new();
    let mut done = 0;
    let mut next = Instant::now();
    while !session.interrupt.is_set() {
        let reports = session
            .monitor
            .instances()
            .map(|instance| report(instance, &mut earlier));
        let tick = Tick {
            instances: reports.collect(),
        };
        if args.json {
            print_json(&tick)?;
        } else {
            print(&text(&tick)?)?;
        }
        done += 1;
        next += delay;
        if args.count == Some(done) || !session.interrupt.sleep_until(next) {
            break;
        }
    }
    Ok(())
}

/// Waits until each running instance has two readings, at most one period and a second.
fn wait_for_rates(session: &Session) {
    let deadline = Instant::now() + session.monitor.period() + Duration::from_secs(1);
    for instance in session.monitor.instances() {
        let left = deadline.saturating_duration_since(Instant::now());
        instance.shared.wait_until(left, |view| {
            view.state != State::Running || view.earlier_stats.is_some()
        });
    }
}

/// Reports on the instance, with rates since its reading in `earlier`, which it replaces by the
/// current one.
fn report(instance: &Instance, earlier: &mut BTreeMap<u8, Stats>) -> Report {
    let view = instance.shared.lock();
    let now = view.stats.clone().filter(|_| view.state == State::Running);
    let then = earlier.remove(&instance.number);
    let taken = |stats: &Stats| stats.taken_ns;
    let new = now.is_some() && now.as_ref().map(taken) != then.as_ref().map(taken);
    // A tick before the next reading uses the last two readings.
    let newer = |then: &Stats| {
        now.as_ref()
            .is_some_and(|now| interval(then, now).is_some())
    };
    let then = then.filter(newer).or_else(|| view.earlier_stats.clone());
    let mut report = Report {
        number: instance.number,
        name: instance.name.clone(),
        state: view.state.word(),
        detail: view.state.detail(),
        new,
        interval_s: None,
        uptime_ms: None,
        load: None,
        interfaces: Vec::new(),
        memory: None,
        cpu: None,
        dropped_bytes: view.log.dropped(),
        shown_state: view.state.to_string(),
    };
    drop(view);
    if let Some(now) = now {
        add_reading(&mut report, &now, then.as_ref());
        earlier.insert(instance.number, now);
    }
    report
}

fn add_reading(report: &mut Report, now: &Stats, then: Option<&Stats>) {
    let seconds = then.and_then(|then| interval(then, now));
    let since = then.zip(seconds);
    report.interval_s = seconds;
    report.uptime_ms = Some(now.uptime_ms);
    report.load = Some(now.load.map(|hundredths| f64::from(hundredths) / 100.0));
    report.memory = Some(MemoryReport {
        total_kb: now.memory_total_kb,
        free_kb: now.memory_free_kb,
        available_kb: now.memory_available_kb,
    });
    let interfaces = now.interfaces.iter().map(|interface| InterfaceReport {
        name: interface.name.clone(),
        rx_bytes: interface.rx_bytes,
        rx_packets: interface.rx_packets,
        tx_bytes: interface.tx_bytes,
        tx_packets: interface.tx_packets,
        rates: since
            .map(|(then, seconds)| interface_rates(interface, then, seconds))
            .unwrap_or_default(),
    });
    report.interfaces = interfaces.collect();
    let (percent, cpus) = then.map(|then| cpu_percent(then, now)).unwrap_or_default();
    report.cpu = Some(CpuReport {
        percent: two_digits(percent),
        cpus: cpus.into_iter().map(two_digits).collect(),
    });
}

fn text(tick: &Tick) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    for report in &tick.instances {
        writeln!(out, "*****part_id:{}*****", report.number)?;
        match (&report.memory, &report.cpu) {
            (Some(memory), Some(cpu)) => {
                network(&mut out, &report.interfaces)?;
                writeln!(out, "MEM")?;
                let line = |kb: u64| format!("{kb} kb,{} mb", kb / 1024);
                writeln!(out, "total size:{}", line(memory.total_kb))?;
                writeln!(out, "free size:{}", line(memory.free_kb))?;
                writeln!(out, "CPU")?;
                writeln!(out, "cpu utilization_ratio:{:.2}%", cpu.percent)?;
                for (number, percent) in cpu.cpus.iter().enumerate() {
                    writeln!(out, "CPU{number}  cpu utilization_ratio:{percent:.2}")?;
                }
            }
            _ => writeln!(out, "state:{}", report.shown_state)?,
        }
        writeln!(out, "*****\n")?;
    }
    Ok(out)
}

fn network(out: &mut String, interfaces: &[InterfaceReport]) -> std::fmt::Result {
    writeln!(out, "{:>18}{:>36}", "Receive", "Transmit")?;
    writeln!(
        out,
        "{:>8}|{:>12} {:>10} {:>10} |{:>12} {:>10} {:>10}",
        "", "bytes", "packets", "bytes/s", "bytes", "packets", "bytes/s"
    )?;
    for interface in interfaces {
        writeln!(
            out,
            "{:>8} {:>12} {:>10} {:>10.0}  {:>12} {:>10} {:>10.0}",
            format!("{}:", escaped(&interface.name)),
            interface.rx_bytes,
            interface.rx_packets,
            interface.rates.rx_bytes_per_s,
            interface.tx_bytes,
            interface.tx_packets,
            interface.rates.tx_bytes_per_s,
        )?;
    }
    Ok(())
}
