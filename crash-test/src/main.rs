//! `cargo xtask kill`: lets partitions die between any two instructions, or stops them
//! there and lets them go on later.
//!
//! - A *scenario* is data (`scenarios/`): an object in shared memory, the operations of its
//!   roles, and its invariants.
//! - An *actor* is one party: an incarnation that plays a role. The same actors run as
//!   threads, as processes, and as work that dies or stops at a store.
//! - A *fault* is a death or a stall, before an enumerated store or at a random moment. To
//!   the peers of a stalled party it is silent, or gone.
//! - The *ledger* is outside the region: each actor notes in it what it attempts, and what
//!   was acknowledged.
//! - A *verdict* is the result of an operation or an audit: success, or a violation.
//!
//! A run applies each fault in two ways. `enumerated/` lets an actor die or stop at every
//! store of every operation, from several starting states, on a stand-in for shared memory:
//! its results are the same each time. `processes/` kills or stops real processes at random
//! moments. Both then let other actors take over, go on and audit. `self_test` spoils each
//! kind of object, and expects a violation.
//!
//! Imports go down: `run, self_test` → `enumerated, processes` → `scenario`, and
//! `sabotage` → `scenarios` → `kit` → `scenario` → `scene` → `actor` → `party` → `observer` →
//! `memory` → `ledger, verdict`.
//!
//! To add a scenario: a file in `scenarios/` with one [`party::Party`] per role, the
//! [`Scenario`] that names them, and a line in [`scenarios::ALL`]. An invariant is an
//! [`verdict::ensure`] where an operation can see it, or in the audit; a sabotage shows that
//! it can fail. `scenarios/snapshot.rs` is the smallest.

mod actor;
#[path = "../../xtask/src/console.rs"]
mod console;
mod enumerated;
mod fault;
mod harness;
mod incarnation;
#[path = "../../xtask/src/interrupt.rs"]
mod interrupt;
mod kit;
mod ledger;
mod memory;
mod observer;
mod party;
mod processes;
mod report;
mod run;
mod sabotage;
mod scenario;
mod scenarios;
mod scene;
mod self_test;
mod timed_wait;
mod verdict;
mod watchdog;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};

use console::Console;
use fault::FaultKind;
use processes::Detection;
use report::{Found, Tally};
use run::Plan;
use scenario::Scenario;
use verdict::Violation;
use watchdog::Watchdog;

/// Kill partitions in the middle of their work, and check what they leave
///
/// The last line says `N kill points, V violations, slowest recovery X ms`. The
/// time of a recovery is from a process's death to the end of the next operation
/// of its role. With `--stall` the last line is `N stalls, V violations`.
#[derive(Parser)]
#[command(name = "cargo xtask kill", bin_name = "cargo xtask kill")]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// How many processes to kill or to stop [default: 600; with `--liveness heartbeat` 60; with
    /// `--stall` 300]
    #[arg(long, value_name = "N")]
    points: Option<u64>,
    /// Only these scenarios; may be given several times
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',')]
    only: Vec<String>,
    /// Seed of the choice of victims and moments [default: random]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Stop partitions instead, so that others see them as silent or gone, and let them continue
    /// later
    #[arg(long)]
    stall: bool,
    /// How other partitions detect a death [default: pidfd; with `--stall` random]
    #[arg(long, value_enum)]
    liveness: Option<Detection>,
    /// Make deliberate errors, and fail unless each is noticed
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
    process: Option<Process>,
}

#[derive(Subcommand)]
enum Process {
    #[command(name = processes::COMMAND, hide = true)]
    Work(processes::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.process {
        Some(Process::Work(arguments)) => processes::run_worker(arguments, |name| {
            let everything = scenarios::ALL.iter().copied().chain(sabotage::all());
            Ok(select(everything, &[name.to_owned()])?[0])
        }),
        None => run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let scenarios = select(scenarios::ALL.iter().copied(), &arguments.only)?;
    if arguments.list {
        report::list(&scenarios, arguments.json);
        return Ok(ExitCode::SUCCESS);
    }
    interrupt::catch()?;
    let console = Console {
        to_stderr: arguments.json,
    };
    let fault = match arguments.stall {
        true => FaultKind::Stall,
        false => FaultKind::Death,
    };
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    let tally = Tally::new(Some(console), fault);
    tally.line(&format!("seed {seed}"));
    let watchdog = Watchdog::default();
    watch(&watchdog, &tally, arguments.json);
    let passed = if arguments.self_test {
        self_test::run(&tally, &watchdog, seed)
    } else {
        let plan = Plan {
            fault,
            points: arguments.points,
            detection: arguments.liveness,
            seed,
        };
        plan.run(&scenarios, &tally, &watchdog);
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

/// Ends the program when nothing moves: there is no other way to leave a call that does not
/// return.
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

/// Returns the scenarios of `all` with these names, or all if `names` is empty.
fn select(
    all: impl Iterator<Item = &'static Scenario> + Clone,
    names: &[String],
) -> Result<Vec<&'static Scenario>> {
    for name in names {
        let known: Vec<_> = all.clone().map(|scenario| scenario.name).collect();
        ensure!(
            known.contains(&name.as_str()),
            "no scenario `{name}`; the scenarios are {}",
            known.join(", ")
        );
    }
    let is_wanted =
        |scenario: &&Scenario| names.is_empty() || names.iter().any(|name| name == scenario.name);
    Ok(all.filter(is_wanted).collect())
}
