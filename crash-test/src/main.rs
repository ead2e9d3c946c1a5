//! `cargo xtask kill`: a partition can die between any two instructions, or stand
//! still there and go on later.
//!
//! It is shown in two ways, and a run goes both: a death, or a stop, at every store of
//! every operation, on a stand-in for shared memory; and at any moment at all, of real
//! processes that are killed, or stopped.

#[path = "../../xtask/src/console.rs"]
mod console;
mod deaths;
mod every_store;
#[path = "../../xtask/src/interrupt.rs"]
mod interrupt;
mod processes;
mod report;
mod sabotage;
mod scenario;
mod scenarios;
mod stage;
mod watchdog;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use fastrand::Rng;

use console::Console;
use every_store::EveryStore;
use processes::{Liveness, Processes};
use report::{Found, Tally};
use scenario::{Scenario, Violation};
use watchdog::Watchdog;

/// Kill partitions in the middle of what they do, and look at what they leave.
///
/// The last line says `N kill points, V violations, slowest recovery X ms`. The
/// time of a recovery is from a process's death to the end of the next operation
/// of its role. With `--stall` it says `N stalls, V violations`.
#[derive(Parser)]
#[command(name = "cargo xtask kill", bin_name = "cargo xtask kill")]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// How many processes to kill, or to stop [default: 600; 60 by heartbeat; 300 stops]
    #[arg(long, value_name = "N")]
    points: Option<u64>,
    /// Only these scenarios; may be given several times
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',')]
    only: Vec<String>,
    /// Where the choice of victims and moments begins [default: another each time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Stop partitions instead, take them for silent or gone, and let them go on
    #[arg(long)]
    stall: bool,
    /// How the living learn of a death [default: pidfd; by turns with `--stall`]
    #[arg(long, value_enum)]
    liveness: Option<Liveness>,
    /// Do something wrongly on purpose, and fail unless that is noticed
    #[arg(long)]
    self_test: bool,
    /// List the scenarios and run nothing
    #[arg(long)]
    list: bool,
    /// Print one JSON document to standard output, everything else to standard
    /// error
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    victim: Option<Victim>,
}

#[derive(Subcommand)]
enum Victim {
    #[command(name = processes::VICTIM, hide = true)]
    Work(processes::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.victim {
        Some(Victim::Work(arguments)) => processes::run_victim(arguments),
        None => run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let scenarios = select(scenarios::all(), &arguments.only)?;
    if arguments.list {
        report::list(&scenarios, arguments.json);
        return Ok(ExitCode::SUCCESS);
    }
    interrupt::catch()?;
    let console = Console {
        to_stderr: arguments.json,
    };
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    let tally = Tally::new(Some(console), arguments.stall);
    tally.line(&format!("seed {seed}"));
    let watchdog = Watchdog::default();
    watch(&watchdog, &tally, arguments.json);
    let passed = if arguments.self_test {
        self_test(&tally, &watchdog, seed)
    } else {
        kill(arguments, &scenarios, &tally, &watchdog, seed);
        tally.close(arguments.json);
        tally.counts().violations.is_empty()
    };
    Ok(if interrupt::interrupted() {
        ExitCode::from(130)
    } else if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Ends the program when nothing moves: a call that does not return cannot be left
/// in any other way.
fn watch(watchdog: &Watchdog, tally: &Tally, json: bool) {
    let tally = tally.clone();
    watchdog.start(watchdog::LIMIT, move |doing| {
        tally.violation(Found {
            scenario: "a call that does not return",
            seed: None,
            point: doing,
            violation: Violation::new(format!("nothing moved for {:?}", watchdog::LIMIT)),
        });
        tally.close(json);
        std::process::exit(1);
    });
}

fn kill(
    arguments: &Arguments,
    scenarios: &[&'static dyn Scenario],
    tally: &Tally,
    watchdog: &Watchdog,
    seed: u64,
) {
    let points = arguments.points.unwrap_or(match arguments.liveness {
        _ if arguments.stall => 300,
        Some(Liveness::Heartbeat) => 60,
        _ => 600,
    });
    let faults = match arguments.stall {
        true => every_store::STALLS,
        false => every_store::DEATHS,
    };
    let mut seeds = Rng::with_seed(seed);
    for (at, &scenario) in scenarios.iter().enumerate() {
        let before = tally.counts().clone();
        let left = points.saturating_sub(before.points);
        let share = left.div_ceil((scenarios.len() - at) as u64);
        let stop = &interrupt::interrupted;
        let every_store = EveryStore {
            faults,
            scenario,
            tally,
            watchdog,
            stop,
        };
        every_store.run();
        let processes = Processes {
            scenario,
            liveness: arguments.liveness,
            stall: arguments.stall,
            tally,
            watchdog,
            stop,
        };
        processes.run(share, &mut seeds);
        tally.progress(scenario.name(), &before);
        if interrupt::interrupted() {
            return;
        }
    }
}

/// Whether whatever is wrong is noticed, in both ways.
fn self_test(tally: &Tally, watchdog: &Watchdog, seed: u64) -> bool {
    let mut seeds = Rng::with_seed(seed);
    let stop = &interrupt::interrupted;
    let mut passed = true;
    for scenario in sabotage::all() {
        watchdog.alive();
        let at_stores = sabotage::at_stores(scenario, stop);
        let in_processes = sabotage::in_processes(scenario, watchdog, &mut seeds, stop);
        for noticed in std::iter::once(at_stores).chain(in_processes) {
            let what = noticed.what.as_deref().unwrap_or("NOT NOTICED");
            let (name, about, way) = (noticed.name, noticed.about, noticed.way);
            tally.line(&format!("{name} ({about}), {way}:\n  {what}"));
            passed &= noticed.what.is_some();
        }
    }
    passed
}

/// Those of `all` with these names; all if none is named.
fn select(all: Vec<&'static dyn Scenario>, names: &[String]) -> Result<Vec<&'static dyn Scenario>> {
    for name in names {
        let known: Vec<_> = all.iter().map(|scenario| scenario.name()).collect();
        ensure!(
            known.contains(&name.as_str()),
            "no scenario `{name}`; the scenarios are {}",
            known.join(", ")
        );
    }
    let wanted = |scenario: &&dyn Scenario| {
        names.is_empty() || names.iter().any(|name| name == scenario.name())
    };
    Ok(all.into_iter().filter(wanted).collect())
}
