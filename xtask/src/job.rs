//! A build step: writes its output to a log, and shows progress.

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

/// The number of last lines that an error repeats.
const TAIL: usize = 25;
/// The time after which a long step shows its last line again.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// The time limit of a step, which only one that hangs reaches.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// The console and log of the steps of one target, or of the common part.
pub(crate) struct Reporter {
    console: Console,
    /// The first word of progress lines.
    name: String,
    log: PathBuf,
}

impl Reporter {
    /// Creates a reporter with an empty log.
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

    /// Runs one step, in `directory` if it is given.
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

    /// Runs `command`; writes all its output to `log` and keeps the end in `tail`.
    fn watch(
        &self,
        command: Command,
        start: Instant,
        mut log: File,
        tail: &Mutex<VecDeque<String>>,
    ) -> Result<Ended> {
        thread::scope(|scope| {
            let (running, ended) = mpsc::channel::<()>();
            scope.spawn(|| self.show_progress(start, tail, ended));
            let ended = process::run(command, Capture::Both, LIMIT, |line| {
                // Ignored: a full disk soon stops the step itself.
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

    /// Shows the last line from time to time, until `ended` is closed.
    fn show_progress(&self, start: Instant, tail: &Mutex<VecDeque<String>>, ended: Receiver<()>) {
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
