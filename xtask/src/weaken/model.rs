//! Runs one loom model and tells what it found.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail};

use super::death::Death;
use super::scratch::Scratch;
use super::survey::Model;
use crate::invocation::Invocation;
use crate::process::{self, Capture, Ended};

/// How many lines of a build that failed are worth reading.
const TAIL: usize = 30;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Every test passed.
    Nothing,
    /// A test failed or crashed, for this reason.
    Fault(Death),
    /// It did not end in time.
    NoEnd,
    /// No test ran; with the end of the output.
    NotRun(String),
}

/// A build of test programs under loom, without saying which.
fn build() -> Invocation {
    Invocation::parse("cargo test --release --features shmem-core/alloc")
        // A target directory of its own: cargo takes equal packages in two
        // copies of a workspace for the same one, and would run what the other
        // copy built.
        .arg("--target-dir")
        .arg("target")
        .add_flags("RUSTFLAGS", "--cfg loom")
        // Built often, run once.
        .set("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .set("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        // Weakened orderings show with few preemptions, and there are many.
        .set_default("LOOM_MAX_PREEMPTIONS", "2")
}

/// Builds what the models of these packages depend on, which takes far longer
/// than any model may. A build that fails will fail again, and be reported,
/// with the model that needs it.
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
        // Printed before the first test, so that a crash is told from a build
        // that failed.
        let ran = output.iter().any(|line| starts_tests(line));
        Ok(match ended {
            Ended::Interrupted => bail!("interrupted"),
            Ended::OverLimit => Found::NoEnd,
            Ended::Exited(_) if !ran => {
                Found::NotRun(output[output.len().saturating_sub(TAIL)..].join("\n"))
            }
            Ended::Exited(status) if status.success() => Found::Nothing,
            Ended::Exited(_) => Found::Fault(Death::read(&self.package, &output)),
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

/// Whether `line` is libtest's `running N tests` with tests to run.
fn starts_tests(line: &str) -> bool {
    line.strip_prefix("running ")
        .and_then(|rest| rest.strip_suffix(" test").or(rest.strip_suffix(" tests")))
        .is_some_and(|count| count.parse::<u32>().is_ok_and(|count| count > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_matches_nothing_runs_nothing() {
        assert!(starts_tests("running 1 test"));
        assert!(starts_tests("running 12 tests"));
        assert!(!starts_tests("running 0 tests"));
        assert!(!starts_tests("running late"));
    }
}
