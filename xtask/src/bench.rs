//! `cargo xtask bench`: measures the library.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::console::Console;
use crate::debian;
use crate::guest;
use crate::invocation::Invocation;
use crate::workspace::Workspace;

/// The bench that boots a guest; it is not part of the default benches.
const GUEST: &str = "guest";
/// The bench of KMON's copies of files, beside scp.
const COPIES: &str = "copies";
/// What it needs.
const COPIES_PACKAGES: &[debian::Package] = &[
    ("openssh-server", "to compare copies with scp"),
    ("openssh-client", "scp"),
];
/// The bench against iceoryx2, which is a workspace of its own.
const ICEORYX2: &str = "iceoryx2";

/// Measure rings, locks and lookups next to comparable libraries, in one table
///
/// The table is also written to target/bench/summary.json and summary.svg. `--only NAME` runs
/// another bench of `benches/`, with criterion.
/// `--only iceoryx2` measures calls, messages and opening by name between two processes, next
/// to iceoryx2.
///
/// `--only copies` compares KMON's copies of files with scp, and with base64 through kmexec. It
/// needs OpenSSH.
///
/// `--only guest` compares the consoles of a Linux guest: the rings, a serial port, a virtio
/// console. It builds the guest's image first; it accepts `--chart FILE` after `--`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only this bench target; may be given several times
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Seven rounds instead of 25; half a minute for a guest; less precise
    #[arg(long)]
    quick: bool,
    /// Print one JSON document to standard output, all else to standard error
    #[arg(long)]
    json: bool,
    /// Further arguments for the bench, such as a filter for criterion
    #[arg(last = true, value_name = "ARGS")]
    further: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.only.iter().any(|name| name == GUEST) {
        ensure!(arguments.only.len() == 1, "`{GUEST}` runs alone");
        return run_guest(arguments);
    }
    if arguments.only.iter().any(|name| name == ICEORYX2) {
        ensure!(arguments.only.len() == 1, "`{ICEORYX2}` runs alone");
        return run_iceoryx2(arguments);
    }
    if arguments.only.iter().any(|name| name == COPIES) {
        ensure!(arguments.only.len() == 1, "`{COPIES}` runs alone");
        return run_copies(arguments);
    }
    let mut bench = Invocation::parse("cargo bench -p shmem-benches");
    if arguments.only.is_empty() {
        let directory = Workspace::find()?.target.join("bench");
        bench = bench.arg("--bench").arg("summary").arg("--");
        bench = bench.arg("--write").path(&directory);
        let rounds = if arguments.quick { "7" } else { "25" };
        bench = bench.arg("--rounds").arg(rounds);
        if arguments.json {
            bench = bench.arg("--json");
        }
    } else {
        let is_summary = arguments.quick || arguments.json;
        ensure!(
            !is_summary,
            "criterion's benches have no --quick and no --json"
        );
        for name in &arguments.only {
            bench = bench.arg("--bench").arg(name);
        }
        bench = bench.arg("--");
    }
    for word in &arguments.further {
        bench = bench.arg(word);
    }
    Err(bench.command().exec()).context("cannot run cargo")
}

/// Builds the bench against iceoryx2, and runs it.
fn run_iceoryx2(arguments: &Arguments) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let manifest = workspace.root.join("benches/iceoryx2/Cargo.toml");
    let bench = Invocation::parse("cargo run --release --locked --manifest-path").path(&manifest);
    let bench = bench
        .arg("--target-dir")
        .path(&workspace.target.join(ICEORYX2));
    let rounds = if arguments.quick { "3" } else { "15" };
    let mut bench = bench.arg("--").arg("--rounds").arg(rounds);
    if arguments.json {
        bench = bench.arg("--json");
    }
    bench = arguments.further.iter().fold(bench, Invocation::arg);
    Err(bench.command().exec()).context("cannot run cargo")
}

/// Builds KMON and guestd, and runs the bench of copies.
fn run_copies(arguments: &Arguments) -> Result<ExitCode> {
    ensure!(!arguments.json, "`{COPIES}` has no --json");
    // Debian starts an SSH server when it installs it, so the operator decides.
    debian::require(COPIES_PACKAGES, false)?;
    let guestd = Invocation::parse("cargo build --release -p guestd");
    ensure!(guestd.command().status()?.success(), "guestd was not built");
    let mut bench = Invocation::parse("cargo bench -p kmon --profile release --bench copies --");
    if arguments.quick {
        bench = bench.arg("--quick");
    }
    Err(bench.command().exec()).context("cannot run cargo")
}

/// Builds both halves of the guest's bench, and runs it.
fn run_guest(arguments: &Arguments) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    // Only the bench writes to standard output.
    guest::build_for_bench(&workspace, Console { to_stderr: true })?;
    // The guest takes most of the time: the host's half needs no long link-time optimisation.
    let bench = Invocation::parse("cargo bench -p kmon-qemu --profile release --bench guest --");
    let here = std::env::current_dir().context("no working directory")?;
    let bench = bench.set("INVOKED_FROM", here.display().to_string());
    let mut bench = arguments.further.iter().fold(bench, Invocation::arg);
    for (is_asked, flag) in [(arguments.quick, "--quick"), (arguments.json, "--json")] {
        if is_asked {
            bench = bench.arg(flag);
        }
    }
    Err(bench.command().exec()).context("cannot run cargo")
}
