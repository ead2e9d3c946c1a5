//! `kmmonitorall`: prints network, memory and processor of every instance in the paper's format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::arguments::MonitorArgs;
use super::print::{print, print_json};
use super::rates::{InterfaceRates, cpu_percent, interface_rates, interval, two_digits};
use super::session::Session;
use crate::api::reading::{Counters, InstanceReadings, Memory, Reading, Readings};
use crate::interrupt::Interrupt;
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
    state: String,
    detail: Option<String>,
    /// True if this reading differs from that of the last tick.
    new: bool,
    /// Seconds between the two readings from which the rates are computed.
    interval_s: Option<f64>,
    uptime_ms: Option<u64>,
    load: Option<[f64; 3]>,
    interfaces: Vec<InterfaceReport>,
    memory: Option<Memory>,
    cpu: Option<CpuReport>,
    dropped_bytes: u64,
    #[serde(skip)]
    shown_state: String,
}

#[derive(Serialize)]
struct InterfaceReport {
    #[serde(flatten)]
    counters: Counters,
    #[serde(flatten)]
    rates: InterfaceRates,
}

#[derive(Serialize)]
struct CpuReport {
    percent: f64,
    cpus: Vec<f64>,
}

pub(super) fn run(session: &Session, args: &MonitorArgs) -> anyhow::Result<()> {
    let delay = Duration::from_secs_f64(args.delay);
    wait_for_rates(session)?;
    let mut earlier = BTreeMap::new();
    let mut done = 0;
    let mut next = Instant::now();
    while !session.interrupt.is_set() {
        let readings: Readings = session.client.get("/v1/stats")?;
        let instances = readings.instances.into_iter();
        let tick = Tick {
            instances: instances.map(|one| report(one, &mut earlier)).collect(),
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
fn wait_for_rates(session: &Session) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let readings: Readings = session.client.get("/v1/stats")?;
        let lacks_rates = |one: &InstanceReadings| one.state == "running" && one.earlier.is_none();
        let deadline = begun + Duration::from_secs_f64(readings.period_s + 1.0);
        let is_late = Instant::now() > deadline;
        if is_late || !readings.instances.iter().any(lacks_rates) {
            return Ok(());
        }
        if !session
            .interrupt
            .sleep_until(Instant::now() + Interrupt::POLL_INTERVAL)
        {
            return Ok(());
        }
    }
}

/// Reports on the instance, with rates since its reading in `earlier`, which it replaces by the
/// current one.
fn report(instance: InstanceReadings, earlier: &mut BTreeMap<u8, Reading>) -> Report {
    let now = instance.reading;
    let then = earlier.remove(&instance.number);
    let taken = |reading: &Reading| reading.taken_ns;
    let new = now.is_some() && now.as_ref().map(taken) != then.as_ref().map(taken);
    // A tick before the next reading uses the last two readings.
    let newer = |then: &Reading| {
        now.as_ref()
            .is_some_and(|now| interval(then, now).is_some())
    };
    let then = then.filter(newer).or(instance.earlier);
    let shown_state = match &instance.detail {
        Some(detail) => format!("{}: {}", instance.state, escaped(detail)),
        None => instance.state.clone(),
    };
    let mut report = Report {
        number: instance.number,
        name: instance.name,
        state: instance.state,
        detail: instance.detail,
        new,
        interval_s: None,
        uptime_ms: None,
        load: None,
        interfaces: Vec::new(),
        memory: None,
        cpu: None,
        dropped_bytes: instance.dropped_bytes,
        shown_state,
    };
    if let Some(now) = now {
        add_reading(&mut report, &now, then.as_ref());
        earlier.insert(instance.number, now);
    }
    report
}

fn add_reading(report: &mut Report, now: &Reading, then: Option<&Reading>) {
    let seconds = then.and_then(|then| interval(then, now));
    let since = then.zip(seconds);
    report.interval_s = seconds;
    report.uptime_ms = Some(now.uptime_ms);
    report.load = Some(now.load);
    report.memory = Some(now.memory);
    let interfaces = now.interfaces.iter().map(|counters| InterfaceReport {
        counters: counters.clone(),
        rates: since
            .map(|(then, seconds)| interface_rates(counters, then, seconds))
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
    for InterfaceReport { counters, rates } in interfaces {
        writeln!(
            out,
            "{:>8} {:>12} {:>10} {:>10.0}  {:>12} {:>10} {:>10.0}",
            format!("{}:", escaped(&counters.name)),
            counters.rx_bytes,
            counters.rx_packets,
            rates.rx_bytes_per_s,
            counters.tx_bytes,
            counters.tx_packets,
            rates.tx_bytes_per_s,
        )?;
    }
    Ok(())
}
