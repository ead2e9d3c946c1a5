//! `cargo xtask test`: set-up, every group of tests, one report.

mod counts;
mod groups;
mod packages;
mod programs;
mod report;
mod runner;
mod tools;

use std::process::ExitCode;

use anyhow::Result;

use crate::console::Console;
use crate::debian;
use crate::interrupt;
use crate::workspace::Workspace;
use groups::Group;
use programs::Programs;

/// Install what the tests need, then run them all.
///
/// Groups run in a fixed order, one failing does not stop the next, and the
/// last line says `N passed, N failed`. A group finds the programs of the
/// packages that it declares and of a minimal Debian, and no others.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only these groups; may be given several times
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    only: Vec<String>,
    /// List the groups and run nothing
    #[arg(long)]
    list: bool,
    /// Fail, naming the command, where something would have to be installed
    #[arg(long)]
    no_install: bool,
    /// Print one JSON document to standard output, everything else to standard
    /// error
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let groups = groups::select(&arguments.only)?;
    if arguments.list {
        report::list(&groups, arguments.json);
        return Ok(ExitCode::SUCCESS);
    }
    let workspace = Workspace::find()?;
    interrupt::catch()?;
    let console = Console {
        to_stderr: arguments.json,
    };
    require_packages(&groups, !arguments.no_install)?;
    let programs = Programs::installed()?;
    if programs.is_none() {
        eprintln!("without dpkg: the tests find every program, also one that no group declares");
    }
    let mut outcomes = Vec::new();
    for group in groups {
        outcomes.push(runner::run(
            group,
            &workspace,
            programs.as_ref(),
            !arguments.no_install,
            console,
        ));
        if interrupt::interrupted() {
            break;
        }
    }
    report::summary(&outcomes, arguments.json);
    Ok(if interrupt::interrupted() {
        ExitCode::from(130)
    } else if outcomes.iter().any(|outcome| outcome.tally.failed > 0) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Makes sure that the Debian packages of `groups` are there.
fn require_packages(groups: &[&Group], may_install: bool) -> Result<()> {
    let mut wanted: Vec<_> = groups.iter().flat_map(|group| (group.packages)()).collect();
    wanted.sort_by_key(|(name, _)| *name);
    wanted.dedup_by_key(|(name, _)| *name);
    debian::require(&wanted, may_install)
}
