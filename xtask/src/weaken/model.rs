//! Runs one loom model and returns its result.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail};

use super::failure::Failure;
use super::scratch::Scratch;
use super::survey::Model;
use crate::invocation::Invocation;
use crate::process::{self, Capture, Ended};

/// The number of lines to show of a failed build.
const TAIL: usize = 30;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Every test passed.
    Nothing,
    /// A test failed or crashed, for this reason.
    Fault(Failure),
    /// It did not end in time.
    NoEnd,
    /// No test ran; with the end of the output.
    NotRun(String),
}

/// Returns the command that builds test programs under loom, without their names.
fn build() -> Invocation {
    Invocation::parse("cargo test --release --features shmem-core/alloc")
        // A separate target directory: cargo identifies equal packages in two copies of a
        // workspace, and would run what the other copy built.
        .arg("--target-dir")
        .arg("target")
        .add_flags("RUSTFLAGS", "--cfg loom")
        // Models are built often and run once.
        .set("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .set("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        // Weakened orderings show with few preemptions, and there are many orderings.
        .set_default("LOOM_MAX_PREEMPTIONS", "2")
}

/// Builds the dependencies of the models of these packages, which takes much longer than a
/// model may take. If the build fails, it fails again with each model, and is reported then.
pub(super) fn prepare<'a>(
    scratch: &Scratch,
    packages: impl Iterator<Item = &'a str>,
    limit: Duration,
) -> Result<()> {
    let build = packages.fold(build(), |build, package| build.arg("-p").arg(package));
    let build = build.arg("--test").arg("loom_*").arg("--no-run");
    process::run(scratch.command(&build), Capture::Both, limit, |_| {})?;
    Ok(())
}

impl Model {
    fn invocation(&self) -> Invocation {
        let build = build().arg("-p").arg(&self.package);
        let build = build.arg("--test").arg(&self.file);
        match &self.test {
            Some(test) => build.arg("--").arg("--exact").arg(test),
            None => build,
        }
    }

    /// Builds and runs the model in a copy of the workspace.
    pub(super) fn run(&self, scratch: &Scratch, limit: Duration) -> Result<Found> {
        let command = scratch.command(&self.invocation());
        let mut output = Vec::new();
        let ended = process::run(command, Capture::Both, limit, |line| {
            output.push(line.to_owned());
        })?;
        // Printed before the first test: distinguishes a crash from a failed build.
        let ran = output.iter().any(|line| starts_tests(line));
        Ok(match ended {
            Ended::Interrupted => bail!("interrupted"),
            Ended::OverLimit => Found::NoEnd,
            Ended::Exited(_) if !ran => {
                Found::NotRun(output[output.len().saturating_sub(TAIL)..].join("\n"))
            }
            Ended::Exited(status) if status.success() => Found::Nothing,
            Ended::Exited(_) => Found::Fault(Failure::read(&self.package, &output)),
        })
    }
}

impl fmt::Display for Model {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.file)?;
        match &self.test {
            Some(test) => write!(out, "::{test}"),
            None => Ok(()),
        }
    }
}

/// Returns true if `line` is libtest's `running N tests`, with at least one test.
fn starts_tests(line: &str) -> bool {
    line.strip_prefix("running ")
        .and_then(|rest| rest.strip_suffix(" test").or(rest.strip_suffix(" tests")))
        .is_some_and(|count| count.parse::<u32>().is_ok_and(|count| count > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_matches_no_test_runs_none() {
        assert!(starts_tests("running 1 test"));
        assert!(starts_tests("running 12 tests"));
        assert!(!starts_tests("running 0 tests"));
        assert!(!starts_tests("running late"));
    }
}
