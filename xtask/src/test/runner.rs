//! Runs one group and counts what passed.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::counts::{Libtest, Tally};
use super::groups::{Group, Step};
use super::programs::Programs;
use crate::console::Console;
use crate::interrupt;
use crate::invocation::Invocation;
use crate::process::{self, Capture, Ended};
use crate::weaken::{self, Verdict};
use crate::workspace::Workspace;

pub(super) struct Outcome {
    pub(super) name: &'static str,
    pub(super) tally: Tally,
    pub(super) time: Duration,
}

pub(super) fn run(
    group: &'static Group,
    workspace: &Workspace,
    programs: Option<&Programs>,
    may_install: bool,
    console: Console,
) -> Outcome {
    let start = Instant::now();
    console.line(&format!("== {}: {}", group.name, group.about));
    let mut tally = Tally::default();
    match prepare(group, workspace, programs, may_install) {
        Err(error) => tally.fail(1, format!("{error:#}"), reproduction(group)),
        Ok((steps, _)) if steps.is_empty() => {
            tally.fail(1, "nothing to run".to_owned(), reproduction(group));
        }
        Ok((steps, path)) => {
            for step in steps {
                run_step(step, path.as_deref(), group, workspace, console, &mut tally);
                if interrupt::interrupted() {
                    break;
                }
            }
        }
    }
    let time = start.elapsed();
    console.line(&format!(
        "== {}: {} passed, {} failed in {:.1} s\n",
        group.name,
        tally.passed,
        tally.failed,
        time.as_secs_f64()
    ));
    Outcome {
        name: group.name,
        tally,
        time,
    }
}

/// The group's steps, and the `PATH` that they get.
fn prepare(
    group: &Group,
    workspace: &Workspace,
    programs: Option<&Programs>,
    may_install: bool,
) -> Result<(Vec<Step>, Option<String>)> {
    for tool in group.tools {
        tool.require(may_install)?;
    }
    let packages = (group.packages)();
    let names: Vec<_> = packages.iter().map(|(name, _)| *name).collect();
    let directory = workspace.target.join("programs").join(group.name);
    let path = programs.map(|programs| programs.path(&names, &directory));
    Ok(((group.steps)(workspace)?, path.transpose()?))
}

fn reproduction(group: &Group) -> String {
    format!("cargo xtask test --only {}", group.name)
}

fn run_step(
    step: Step,
    path: Option<&str>,
    group: &Group,
    workspace: &Workspace,
    console: Console,
    tally: &mut Tally,
) {
    match step {
        Step::Check(invocation) => {
            let invocation = with_path(invocation, path);
            let mut counts = Libtest::default();
            let ended = stream(&invocation, group.limit, console, |line| counts.read(line));
            match (ended, counts.skipped) {
                (Ok(()), Some(why)) => tally.skipped.push(why),
                (Ok(()), None) => tally.pass(),
                (Err(reason), _) => tally.fail(1, reason, invocation.to_string()),
            }
        }
        Step::Tests(invocation) => {
            let invocation = with_path(invocation, path);
            let mut counts = Libtest::default();
            let ended = stream(&invocation, group.limit, console, |line| counts.read(line));
            count_tests(ended, counts, &invocation, tally);
        }
        Step::Orderings => match weaken::run_all(workspace, path, group.limit, console) {
            Ok(verdicts) => count_verdicts(&verdicts, tally),
            Err(error) => tally.fail(1, format!("{error:#}"), reproduction(group)),
        },
    }
}

fn with_path(invocation: Invocation, path: Option<&str>) -> Invocation {
    match path {
        Some(path) => invocation.set("PATH", path),
        None => invocation,
    }
}

/// Adds one libtest step. A program that printed no failure may still have
/// failed: not compiled, crashed, or found nothing to run.
fn count_tests(
    ended: Result<(), String>,
    counts: Libtest,
    invocation: &Invocation,
    tally: &mut Tally,
) {
    tally.passed += counts.passed;
    let reason = match ended {
        _ if counts.failed > 0 => counts.names.join(", "),
        Err(reason) => reason,
        Ok(()) if counts.passed == 0 => match counts.skipped {
            Some(why) => return tally.skipped.push(why),
            None => "ran no test".to_owned(),
        },
        Ok(()) => return,
    };
    tally.fail(counts.failed.max(1), reason, invocation.to_string());
    if let Some(failure) = tally.failures.last_mut() {
        failure.said = counts.said;
    }
}

fn count_verdicts(verdicts: &[Verdict], tally: &mut Tally) {
    if verdicts.is_empty() {
        let reproduce = "cargo xtask weaken --list".to_owned();
        tally.fail(1, "no ordering found".to_owned(), reproduce);
    }
    for verdict in verdicts {
        if verdict.killed() {
            tally.pass();
        } else {
            tally.fail(1, verdict.to_string(), verdict.reproduce());
        }
    }
}

/// Runs a command with its output passed on; an error says how it ended.
fn stream(
    invocation: &Invocation,
    limit: Duration,
    console: Console,
    mut on_line: impl FnMut(&str),
) -> Result<(), String> {
    console.line(&format!("$ {invocation}"));
    let ended = process::run(invocation.command(), Capture::Stdout, limit, |line| {
        console.line(line);
        on_line(line);
    });
    match ended {
        Ok(Ended::Exited(status)) if status.success() => Ok(()),
        Ok(Ended::Exited(status)) => Err(status.to_string()),
        Ok(Ended::OverLimit) => Err(format!("killed after {} s", limit.as_secs())),
        Ok(Ended::Interrupted) => Err("interrupted".to_owned()),
        Err(error) => Err(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(ended: Result<(), String>, passed: u32, failed: u32) -> Tally {
        let mut counts = Libtest::default();
        for _ in 0..failed {
            counts.read("test ring::wraps ... FAILED");
        }
        counts.read(&format!("test result: {passed} passed; {failed} failed"));
        let mut tally = Tally::default();
        count_tests(ended, counts, &Invocation::parse("cargo test"), &mut tally);
        tally
    }

    #[test]
    fn the_commands_of_a_group_have_its_programs_alone() {
        let Some(programs) = Programs::installed().unwrap() else {
            eprintln!("skipped: no dpkg here");
            return;
        };
        let group = Box::leak(Box::new(Group {
            name: "small",
            about: "",
            packages: Vec::new,
            tools: &[],
            limit: Duration::from_secs(10),
            steps: |_| {
                let ours = "case $PATH in *programs/small) ;; *) exit 1 ;; esac";
                let ours = Invocation::parse("sh -c").arg(ours);
                Ok(vec![
                    Step::Check(ours),
                    Step::Check(Invocation::parse("undeclared")),
                ])
            },
        }));
        let target = tempfile::tempdir().unwrap();
        let workspace = Workspace {
            root: target.path().to_owned(),
            target: target.path().to_owned(),
        };
        let console = Console { to_stderr: true };
        let outcome = run(group, &workspace, Some(&programs), false, console);
        assert_eq!((outcome.tally.passed, outcome.tally.failed), (1, 1));
        let reproduce = &outcome.tally.failures[0].reproduce;
        assert!(reproduce.starts_with("PATH="), "{reproduce}");
    }

    #[test]
    fn failed_tests_are_counted_and_named() {
        let tally = count(Err("exit status: 101".to_owned()), 7, 2);
        assert_eq!((tally.passed, tally.failed), (7, 2));
        assert_eq!(tally.failures[0].reason, "ring::wraps, ring::wraps");
        assert_eq!(tally.failures[0].reproduce, "cargo test");
    }

    #[test]
    fn a_failure_without_a_failed_test_counts_as_one() {
        let tally = count(Err("exit status: 101".to_owned()), 3, 0);
        assert_eq!((tally.passed, tally.failed), (3, 1));
    }

    #[test]
    fn a_step_that_says_why_it_is_skipped_neither_passes_nor_fails() {
        let invocation = Invocation::parse("cargo xtask release oldest-rust");
        let mut counts = Libtest::default();
        counts.read("skipped: no such Rust");
        let mut tally = Tally::default();
        count_tests(Ok(()), counts, &invocation, &mut tally);
        assert_eq!((tally.passed, tally.failed), (0, 0));
        assert_eq!(tally.skipped, ["no such Rust"]);
    }

    #[test]
    fn running_nothing_is_a_failure() {
        let tally = count(Ok(()), 0, 0);
        assert_eq!((tally.passed, tally.failed), (0, 1));
        assert_eq!(tally.failures[0].reason, "ran no test");
    }

    #[test]
    fn all_passed_is_no_failure() {
        let tally = count(Ok(()), 4, 0);
        assert_eq!((tally.passed, tally.failed), (4, 0));
        assert!(tally.failures.is_empty());
    }
}
