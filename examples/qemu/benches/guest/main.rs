//! The rings beside a serial port and a virtio console, in one guest, in one run.
//!
//! | module    | one purpose                                                  |
//! |-----------|--------------------------------------------------------------|
//! | `rig`     | the guest, and every way to it                               |
//! | `image`   | the guest's files                                            |
//! | `monitor` | the monitor's end of a region                                |
//! | `way`     | a way to a terminal in the guest                             |
//! | `heard`   | what came out of one                                         |
//! | `talk`    | how fast text comes out, how soon an answer                  |
//! | `spans`   | what happens when nobody wants anything                      |
//! | `report`  | the figures, the goals, and what they look like              |
//! | `chart`   | the figures as a picture                                     |
//!
//! The guest's half is `examples/guestd/examples/guest-echo`.

mod chart;
mod heard;
mod image;
mod monitor;
mod names;
mod report;
mod rig;
mod spans;
mod talk;
#[path = "../../../guestd/examples/guest-echo/text.rs"]
mod text;
#[path = "../../../guestd/examples/guest-echo/threads.rs"]
mod threads;
mod way;

use std::env;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use names::{FAST, NOTHING, POLLED, RUNG, SERIAL, SLOW};
use report::{Machine, Report};
use rig::Rig;
use spans::{Cast, Span, Times};
use talk::Amount;

/// Measures a guest's consoles beside each other: the rings, polled and with interrupts, a
/// serial port, a virtio console. Reports, and fails only where it cannot measure.
#[derive(Parser)]
struct Arguments {
    /// A little of everything, in about half a minute
    #[arg(long)]
    quick: bool,
    /// One JSON document instead of tables
    #[arg(long)]
    json: bool,
    /// Draw the figures into this SVG file
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // Cargo runs it in its package's directory, and files are named from there.
    if let Some(directory) = env::var_os("INVOKED_FROM") {
        env::set_current_dir(directory)?;
    }
    // Now: not after minutes.
    let chart = arguments.chart.as_ref().map(|path| {
        let file = File::create(path);
        file.with_context(|| format!("cannot write {}", path.display()))
    });
    let chart = chart.transpose()?;
    let mut machine = Machine::this();
    let signals = rig::block_signals()?;
    say("a guest boots");
    let mut rig = Rig::start(signals)?;
    machine.guest_kernel = rig.rung.run(&["uname", "-r"])?.trim().to_owned();
    let amount = amount(arguments.quick);
    say("throughput");
    let floods = talk::floods(&mut rig, amount)?;
    say("round trips");
    let round_trips = talk::round_trips(&mut rig, amount)?;
    let mut report = Report {
        quick: arguments.quick,
        machine,
        floods,
        round_trips,
        spans: spans(&rig, arguments.quick)?,
        goals: Vec::new(),
    };
    report.judge();
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", report.show());
    }
    if let Some(mut chart) = chart {
        chart.write_all(chart::draw(&report).as_bytes())?;
    }
    Ok(())
}

/// Standard output is the report's.
fn say(step: &str) {
    eprintln!("bench guest: {step}");
}

fn amount(quick: bool) -> Amount {
    if quick {
        return Amount {
            flood_bytes: 128 << 10,
            floods: 1,
            rounds: 1,
            at_once: 10,
            typed: 2,
        };
    }
    Amount {
        flood_bytes: 2_000_000,
        floods: 5,
        rounds: 5,
        at_once: 200,
        typed: 20,
    }
}

/// One span for each who may be there.
fn spans(rig: &Rig, quick: bool) -> Result<Vec<Span>> {
    let (settles, span) = if quick {
        ([100, 100], 1000)
    } else {
        // The second is longer than a guest daemon that polls looks often.
        ([6000, 31_000], 16_000)
    };
    let [times, polled_times] = settles.map(|settle| Times {
        settle: Duration::from_millis(settle),
        span: Duration::from_millis(span),
    });
    let rung = rig.pid("/run/guestd.pid")?;
    let polled = rig.pid("/run/second.pid")?;
    let answerers: Vec<_> = rig
        .ways
        .iter()
        .map(|way| (way.name, way.answerer))
        .collect();
    let measure = |name, daemon: Option<(i32, i32)>| {
        say(&format!("idle: {name}"));
        let daemons = [rung, polled].into_iter();
        let others = answerers.iter().filter(|(way, _)| *way != name);
        let stopped: Vec<_> = daemons
            .filter(|pid| daemon.is_none_or(|(daemon, _)| daemon != *pid))
            .chain(others.map(|(_, pid)| *pid))
            .collect();
        let polls = daemon.is_some_and(|(daemon, _)| daemon == polled);
        let times = if polls { polled_times } else { times };
        let cast = Cast {
            stopped: &stopped,
            daemon: daemon.map(|(pid, _)| pid),
            monitor: daemon.map(|(_, monitor)| monitor),
        };
        spans::measure(rig, name, times, &cast)
    };
    let mut spans = vec![
        measure(NOTHING, None)?,
        measure(POLLED, Some((polled, rig.polled.thread)))?,
        measure(RUNG, Some((rung, rig.rung.thread)))?,
        measure(SERIAL, None)?,
    ];
    let mut incarnation = rig.polled.wait_for_incarnation(0)?;
    for (name, period) in [(SLOW, "3"), (FAST, "0.1")] {
        say(name);
        let polled = rig.pid("/run/second.pid")?;
        rig.rung.run(&["kill", &polled.to_string()])?;
        incarnation = rig.start_second(&["--period", period], incarnation)?;
        let polled = rig.pid("/run/second.pid")?;
        let cast = Cast {
            stopped: &[rung],
            daemon: Some(polled),
            monitor: Some(rig.polled.thread),
        };
        spans.push(spans::measure(rig, name, polled_times, &cast)?);
    }
    Ok(spans)
}
