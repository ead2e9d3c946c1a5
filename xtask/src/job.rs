//! A build step: its output goes to a log, and a person sees that it lives.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::console::Console;
use crate::invocation::Invocation;
use crate::process::{self, Capture, Ended};

/// How many of the last lines an error repeats.
const TAIL: usize = 25;
/// How often a step that takes long says what it is at.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// No step takes this long unless it hangs.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Where the steps of one target, or of the common part, report.
pub(crate) struct Reporter {
    console: Console,
    /// What progress lines begin with.
    name: String,
    log: PathBuf,
}

impl Reporter {
    /// Empties the log.
    pub(crate) fn new(console: Console, name: &str, log: PathBuf) -> Result<Self> {
        File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        Ok(Self {
            console,
            name: name.to_owned(),
            log,
        })
    }

    pub(crate) fn say(&self, text: &str) {
        self.console.line(&format!("{:<10}  {text}", self.name));
    }

    /// Runs one step, in `directory` if there is one.
    pub(crate) fn run(
        &self,
        what: &str,
        step: &Invocation,
        directory: Option<&Path>,
    ) -> Result<()> {
        let start = Instant::now();
        self.say(what);
        let mut log = OpenOptions::new().append(true).open(&self.log)?;
        writeln!(log, "$ {step}")?;
        let mut command = step.command();
        if let Some(directory) = directory {
            command.current_dir(directory);
        }
        let tail = Mutex::new(VecDeque::with_capacity(TAIL));
        let ended = self.watch(command, start, log, &tail)?;
        let how = match ended {
            Ended::Exited(status) if status.success() => {
                self.say(&format!("  done in {:.1} s", seconds(start)));
                return Ok(());
            }
            Ended::Exited(status) => status.to_string(),
            Ended::OverLimit => format!("killed after {} s", LIMIT.as_secs()),
            Ended::Interrupted => bail!("interrupted"),
        };
        let tail: Vec<_> = lock(&tail).iter().map(|line| format!("  {line}")).collect();
        bail!(
            "{what}: {how}; the end of {}:\n{}",
            self.log.display(),
            tail.join("\n")
        )
    }

    /// Runs `command` and keeps what it prints: all in `log`, the end in `tail`.
    fn watch(
        &self,
        command: Command,
        start: Instant,
        mut log: File,
        tail: &Mutex<VecDeque<String>>,
    ) -> Result<Ended> {
        thread::scope(|scope| {
            let (running, ended) = mpsc::channel::<()>();
            scope.spawn(|| self.show_incarnation(start, tail, ended));
            let ended = process::run(command, Capture::Both, LIMIT, |line| {
                // A full disk stops the step itself soon enough.
                let _ = writeln!(log, "{line}");
                let mut tail = lock(tail);
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(line.to_owned());
            });
            drop(running);
            ended
        })
    }

    /// Repeats the last line from time to time, until `ended` is closed.
    fn show_incarnation(
        &self,
        start: Instant,
        tail: &Mutex<VecDeque<String>>,
        ended: Receiver<()>,
    ) {
        while ended.recv_timeout(SIGN_OF_LIFE) == Err(RecvTimeoutError::Timeout) {
            let last = lock(tail).back().cloned().unwrap_or_default();
            self.say(&format!("  {:>3.0} s: {}", seconds(start), last.trim()));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_repeats_the_end_of_the_log_and_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("build.log");
        let console = Console { to_stderr: true };
        let reporter = Reporter::new(console, "board", log.clone()).unwrap();
        let step = Invocation::parse("sh -c")
            .arg("for n in $(seq 100); do echo line $n; done; echo broken; exit 2");
        let error = reporter.run("building", &step, None).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("building: exit status: 2"), "{error}");
        assert!(error.contains("  line 100\n  broken") && !error.contains("line 10\n"));
        assert!(error.contains(log.to_str().unwrap()));
        let logged = std::fs::read_to_string(&log).unwrap();
        assert!(logged.starts_with("$ sh -c") && logged.contains("\nline 10\n"));
    }
}
