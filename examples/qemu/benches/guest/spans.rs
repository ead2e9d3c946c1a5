//! The load of guest and host during a span of time in which the guest is idle.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::rig::Rig;
use crate::threads::{self, Thread};

/// The host's span is shorter than the guest's by this time at each end.
const MARGIN: Duration = Duration::from_millis(250);

/// One span.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Span {
    pub(crate) name: &'static str,
    pub(crate) seconds: f64,
    /// Share of the guest's processor that was not idle, in percent.
    pub(crate) guest_percent: f64,
    /// Switches between tasks in the guest, a second.
    pub(crate) guest_switches: f64,
    pub(crate) daemon: Share,
    /// The daemon's thread that reads the statistics.
    pub(crate) readings: Share,
    pub(crate) qemu: Share,
    pub(crate) monitor: Share,
}

/// The share of a processor that threads used, and their wake-ups.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Share {
    pub(crate) percent: f64,
    /// Wake-ups a second.
    pub(crate) wakeups: f64,
}

impl Share {
    fn from_threads<'t>(threads: impl IntoIterator<Item = &'t Thread>, seconds: f64) -> Self {
        let mut share = Self::default();
        for thread in threads {
            share.percent += thread.run_ns as f64 / 1e9 / seconds * 100.0;
            share.wakeups += thread.sleeps as f64 / seconds;
        }
        share
    }
}

/// The length of a span, and of the time before it.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) settle: Duration,
    pub(crate) span: Duration,
}

/// The processes to stop and to measure.
pub(crate) struct Processes<'a> {
    pub(crate) stopped: &'a [i32],
    pub(crate) daemon: Option<i32>,
    /// The monitor's thread.
    pub(crate) monitor: Option<i32>,
}

/// Measures one span.
pub(crate) fn measure(
    rig: &Rig,
    name: &'static str,
    times: Times,
    processes: &Processes<'_>,
) -> Result<Span> {
    let list = |numbers: &[i32]| match numbers {
        [] => "-".to_owned(),
        numbers => {
            let words: Vec<_> = numbers.iter().map(i32::to_string).collect();
            words.join(",")
        }
    };
    let millis = |time: Duration| time.as_millis().to_string();
    let daemon = processes.daemon.as_slice();
    let words = [
        "guest-echo",
        "meter",
        &millis(times.settle),
        &millis(times.span),
        &list(processes.stopped),
        &list(daemon),
    ];
    let command = rig.doorbell.spawn(&words)?;
    let (qemu, monitor) = measure_host(rig, times, processes.monitor)?;
    let printed = rig.doorbell.finish(command)?;
    let mut span =
        parse(name, &printed).with_context(|| format!("the guest printed {printed:?}"))?;
    (span.qemu, span.monitor) = (qemu, monitor);
    Ok(span)
}

/// Measures QEMU and the monitor in the middle of the span.
fn measure_host(rig: &Rig, times: Times, monitor: Option<i32>) -> Result<(Share, Share)> {
    thread::sleep(times.settle + MARGIN);
    let qemu = rig.machine.pid();
    let own = nix::unistd::getpid().as_raw();
    let before = (
        Instant::now(),
        threads::of_process(qemu)?,
        threads::of_process(own)?,
    );
    thread::sleep(times.span.saturating_sub(MARGIN * 2));
    let seconds = before.0.elapsed().as_secs_f64();
    let qemu = threads::since(&before.1, threads::of_process(qemu)?);
    let own = threads::since(&before.2, threads::of_process(own)?);
    let own = own.iter().filter(|thread| Some(thread.number) == monitor);
    Ok((
        Share::from_threads(&qemu, seconds),
        Share::from_threads(own, seconds),
    ))
}

fn parse(name: &'static str, printed: &str) -> Result<Span> {
    let mut machine = None;
    let mut all = Vec::new();
    for line in printed.lines() {
        let words: Vec<_> = line.split(' ').collect();
        match words.as_slice() {
            ["machine", span, idle, switches] => {
                machine = Some((
                    span.parse::<f64>()?,
                    idle.parse::<f64>()?,
                    switches.parse::<f64>()?,
                ));
            }
            ["thread", _, name, run_ns, sleeps] => all.push(Thread {
                number: 0,
                name: (*name).to_owned(),
                run_ns: run_ns.parse()?,
                sleeps: sleeps.parse()?,
            }),
            _ => bail!("unexpected line {line:?}"),
        }
    }
    let (span_us, idle_us, switches) = machine.context("no line about the machine")?;
    let seconds = span_us / 1e6;
    let readings = all.iter().filter(|thread| thread.name == "statistics");
    Ok(Span {
        name,
        seconds,
        guest_percent: (1.0 - idle_us / span_us) * 100.0,
        guest_switches: switches / seconds,
        daemon: Share::from_threads(&all, seconds),
        readings: Share::from_threads(readings, seconds),
        qemu: Share::default(),
        monitor: Share::default(),
    })
}
