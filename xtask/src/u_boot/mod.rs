//! `cargo xtask u-boot`: builds Debian's U-Boot with KMON's commands.

mod apt;
mod build;
mod library;
mod overlay;
mod report;
mod size;
mod source;
mod target;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::console::Console;
use crate::debian::{self, Package};
use crate::interrupt;
use crate::job::Reporter;
use crate::workspace::Workspace;
use build::Build;
use report::{Built, Outcome};
use target::{TARGETS, Target};

/// Build U-Boot with KMON's commands, and report their size
///
/// Installs the compilers, fetches Debian's source of U-Boot once, and copies
/// `examples/u-boot` into it as `cmd/kmon`. Then builds it with the library for
/// each target. Logs are in `target/u-boot`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Build only this target; may be given several times
    #[arg(long = "target", value_name = "NAME", value_delimiter = ',')]
    targets: Vec<String>,
    /// Remove the results of earlier builds, but keep what was fetched
    #[arg(long)]
    clean: bool,
    /// Fail if the commands or the library in them exceed their size limits
    #[arg(long)]
    check: bool,
    /// List the targets and build nothing
    #[arg(long)]
    list: bool,
    /// Install nothing; fail with the necessary command instead
    #[arg(long)]
    no_install: bool,
    /// Print one JSON document to standard output, all else to standard error
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let targets = target::select(&arguments.targets)?;
    if arguments.list {
        report::list(&targets, arguments.json);
        return Ok(ExitCode::SUCCESS);
    }
    interrupt::catch()?;
    let outcomes = build_all(arguments, &targets);
    if interrupt::interrupted() {
        eprintln!("interrupted");
        return Ok(ExitCode::from(130));
    }
    let outcomes = outcomes?;
    report::summary(&outcomes, arguments.json);
    let mut failures = Vec::new();
    for outcome in &outcomes {
        match (&outcome.built, outcome.target.limits) {
            (Err(error), _) => failures.push((outcome.target.name, error.clone())),
            (Ok(built), Some(limits)) if arguments.check => {
                let excess = built.excess(limits).into_iter();
                failures.extend(excess.map(|text| (outcome.target.name, text)));
            }
            _ => {}
        }
    }
    for (name, failure) in &failures {
        eprintln!("FAILED {name}: {failure}");
    }
    Ok(if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns the packages that the builds of all targets need.
pub(crate) fn packages() -> Vec<Package> {
    target::packages(TARGETS)
}

/// What the builds of all targets share.
struct Common {
    workspace: PathBuf,
    /// The directory of all fetched and built files.
    home: PathBuf,
    source: PathBuf,
    console: Console,
}

/// Prepares the common part, then builds one target after another: a single build keeps every
/// processor busy.
fn build_all(arguments: &Arguments, targets: &[&'static Target]) -> Result<Vec<Outcome>> {
    let workspace = Workspace::find()?;
    let home = workspace.target.join("u-boot");
    if arguments.clean {
        clean(&home, targets, arguments.targets.is_empty())?;
    }
    fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
    let console = Console {
        to_stderr: arguments.json,
    };
    let may_install = !arguments.no_install;
    debian::require(&target::packages(targets.iter().copied()), may_install)?;
    let reporter = Reporter::new(console, "source", home.join("source.log"))?;
    let source = source::unpacked(&home, may_install, &reporter)?;
    overlay::apply(&workspace.root, &source)?;
    let common = Common {
        workspace: workspace.root,
        home,
        source,
        console,
    };
    let mut outcomes = Vec::new();
    for target in targets {
        let start = Instant::now();
        let built = build_one(&common, target);
        if interrupt::interrupted() {
            break;
        }
        outcomes.push(Outcome {
            target,
            time: start.elapsed(),
            built: built.map_err(|error| format!("{error:#}")),
        });
    }
    Ok(outcomes)
}

fn build_one(common: &Common, target: &'static Target) -> Result<Built> {
    let directory = common.home.join(target.name);
    let output = directory.join("build");
    fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
    let reporter = Reporter::new(common.console, target.name, directory.join("build.log"))?;
    let library = library::build(target, &common.home.join("cargo"), &reporter)?;
    let (core, ring) = size::measure_parts(target.cross, &library, &directory, &reporter)?;
    let build = Build {
        target,
        workspace: &common.workspace,
        source: &common.source,
        archive: &library,
        directory: &output,
        reporter: &reporter,
    };
    Ok(Built {
        without: build.without_kmon()?,
        with: build.with_kmon()?,
        image: build.image()?,
        archive: library,
        core,
        ring,
    })
}

/// Removes the results of these targets' builds and, with `all`, what they share.
fn clean(home: &Path, targets: &[&Target], all: bool) -> Result<()> {
    let shared = ["source", "cargo"].into_iter().filter(|_| all);
    for name in shared.chain(targets.iter().map(|target| target.name)) {
        let path = home.join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}
