//! `cargo xtask release`: are the library crates ready to be published?

mod manifests;
mod packages;
mod semver;

use std::process::ExitCode;

use anyhow::Result;

use crate::invocation::Invocation;
use crate::workspace::{self, Workspace};
use packages::Packages;
pub(crate) use semver::last_release;

/// Check that the library crates can be published.
///
/// A check that is impossible on this machine prints a line `skipped: WHY` and succeeds.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    check: Check,
}

#[derive(clap::Subcommand)]
enum Check {
    /// Check that the manifests are complete, and that nothing else is published
    Manifests,
    /// Run the tests of the packages with the oldest Rust that they declare
    OldestRust,
    /// Compile the packages with the oldest dependencies that they declare; needs nightly cargo
    OldestDependencies,
    /// Compare the API with the last release, by cargo-semver-checks
    Semver {
        /// Git revision to compare with instead of the last tag `v*`
        #[arg(long, value_name = "REV")]
        baseline: Option<String>,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.check {
        Check::Manifests => manifests::check(&workspace::metadata()?)?,
        Check::OldestRust => Packages::unpack(&Workspace::find()?)?.test_with_oldest_rust()?,
        Check::OldestDependencies => {
            Packages::unpack(&Workspace::find()?)?.check_with_oldest_dependencies()?;
        }
        Check::Semver { baseline } => semver::check(&Workspace::find()?, baseline.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns true if the sources differ from the last commit. Cargo then publishes them only with
/// `--allow-dirty`.
pub(crate) fn is_dirty() -> bool {
    let status = Invocation::parse("git status --porcelain")
        .command()
        .output();
    status.is_ok_and(|output| !output.stdout.is_empty())
}
