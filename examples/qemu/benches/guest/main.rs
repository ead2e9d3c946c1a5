//! Compares the rings with a serial port and a virtio console, in one guest, in one run.
//!
//! | module    | one purpose                                                  |
//! |-----------|--------------------------------------------------------------|
//! | `rig`     | the guest with all its terminals                             |
//! | `image`   | the guest's files                                            |
//! | `monitor` | the monitor's end of a region                                |
//! | `terminal` | a terminal in the guest                                     |
//! | `transcript` | the output of a terminal                                  |
//! | `talk`    | throughput and round trips                                   |
//! | `spans`   | the load of an idle guest                                    |
//! | `report`  | the results and the goals, as tables and JSON                |
//! | `chart`   | the results as a picture                                     |
//!
//! The guest's half is `examples/guestd/examples/guest-echo`.

mod chart;
mod image;
mod monitor;
mod names;
mod report;
mod rig;
mod spans;
mod talk;
mod terminal;
#[path = "../../../guestd/examples/guest-echo/text.rs"]
mod text;
#[path = "../../../guestd/examples/guest-echo/threads.rs"]
mod threads;
mod transcript;

use std::env;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use names::{DOORBELL, FAST, NOTHING, POLLED, SERIAL, SLOW};
use report::{Machine, Report};
use rig::Rig;
use spans::{Processes, Span, Times};
use talk::Amount;

/// Compares a guest's consoles: the rings, polled and with interrupts, a serial port, and a
/// virtio console. Reports the results, and fails only if it cannot measure.
#[derive(Parser)]
struct Arguments {
    /// Measure for about half a minute only; less precise
    #[arg(long)]
    quick: bool,
    /// Print one JSON document instead of tables
    #[arg(long)]
    json: bool,
    /// Draw the results into this SVG file
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Passed by cargo to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // Cargo runs the bench in its package's directory; file names are relative to this one.
    if let Some(directory) = env::var_os("INVOKED_FROM") {
        env::set_current_dir(directory)?;
    }
    // Created now, so that an error does not come after minutes.
    let chart = arguments.chart.as_ref().map(|path| {
        let file = File::create(path);
        file.with_context(|| format!("cannot write {}", path.display()))
    });
    let chart = chart.transpose()?;
    let mut machine = Machine::this();
    let signals = rig::block_signals()?;
    print_step("a guest boots");
    let mut rig = Rig::start(signals)?;
    machine.guest_kernel = rig.doorbell.run(&["uname", "-r"])?.trim().to_owned();
    let amount = amount(arguments.quick);
    print_step("throughput");
    let floods = talk::floods(&mut rig, amount)?;
    print_step("round trips");
    let round_trips = talk::round_trips(&mut rig, amount)?;
    let mut report = Report {
        quick: arguments.quick,
        machine,
        floods,
        round_trips,
        spans: spans(&rig, arguments.quick)?,
        goals: Vec::new(),
    };
    report.check_goals();
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

/// Prints to standard error, since standard output has only the report.
fn print_step(step: &str) {
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

/// Measures one span for each process that may run.
fn spans(rig: &Rig, quick: bool) -> Result<Vec<Span>> {
    let (settles, span) = if quick {
        ([100, 100], 1000)
    } else {
        // The second is longer than the time in which a guest daemon polls often.
        ([6000, 31_000], 16_000)
    };
    let [times, polled_times] = settles.map(|settle| Times {
        settle: Duration::from_millis(settle),
        span: Duration::from_millis(span),
    });
    let doorbell = rig.pid("/run/guestd.pid")?;
    let polled = rig.pid("/run/second.pid")?;
    let answerers: Vec<_> = rig
        .terminals
        .iter()
        .map(|terminal| (terminal.name, terminal.answerer))
        .collect();
    let measure = |name, daemon: Option<(i32, i32)>| {
        print_step(&format!("idle: {name}"));
        let daemons = [doorbell, polled].into_iter();
        let others = answerers.iter().filter(|(terminal, _)| *terminal != name);
        let stopped: Vec<_> = daemons
            .filter(|pid| daemon.is_none_or(|(daemon, _)| daemon != *pid))
            .chain(others.map(|(_, pid)| *pid))
            .collect();
        let polls = daemon.is_some_and(|(daemon, _)| daemon == polled);
        let times = if polls { polled_times } else { times };
        let processes = Processes {
            stopped: &stopped,
            daemon: daemon.map(|(pid, _)| pid),
            monitor: daemon.map(|(_, monitor)| monitor),
        };
        spans::measure(rig, name, times, &processes)
    };
    let mut spans = vec![
        measure(NOTHING, None)?,
        measure(POLLED, Some((polled, rig.polled.thread)))?,
        measure(DOORBELL, Some((doorbell, rig.doorbell.thread)))?,
        measure(SERIAL, None)?,
    ];
    let mut incarnation = rig.polled.wait_for_incarnation(0)?;
    for (name, period) in [(SLOW, "3"), (FAST, "0.1")] {
        print_step(name);
        let polled = rig.pid("/run/second.pid")?;
        rig.doorbell.run(&["kill", &polled.to_string()])?;
        incarnation = rig.start_second(&["--period", period], incarnation)?;
        let polled = rig.pid("/run/second.pid")?;
        let processes = Processes {
            stopped: &[doorbell],
            daemon: Some(polled),
            monitor: Some(rig.polled.thread),
        };
        spans.push(spans::measure(rig, name, polled_times, &processes)?);
    }
    Ok(spans)
}
