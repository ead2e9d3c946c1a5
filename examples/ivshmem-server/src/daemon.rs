//! Becoming a daemon, without a terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::process;

use anyhow::{Context, Result};
use nix::unistd::{ForkResult, Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};

/// The file with the process number. The process with that number removes it.
pub(crate) struct PidFile<'p> {
    path: &'p Path,
    file: File,
}

impl<'p> PidFile<'p> {
    pub(crate) fn create(path: &'p Path) -> Result<Self> {
        let file = File::create(path);
        let file = file.with_context(|| format!("cannot write the pid file {}", path.display()))?;
        Ok(Self { path, file })
    }

    pub(crate) fn write(&mut self, pid: Pid) -> Result<()> {
        writeln!(self.file, "{pid}").context("cannot write the pid file")
    }
}

impl Drop for PidFile<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path);
    }
}

/// Redirects standard error to the log, if there is one.
pub(crate) fn redirect_log(log: Option<&Path>) -> Result<()> {
    if let Some(path) = log {
        let log = OpenOptions::new().create(true).append(true).open(path);
        dup2_stderr(log.with_context(|| format!("cannot open the log {}", path.display()))?)?;
    }
    Ok(())
}

/// Makes this process a daemon. The calling process exits with 0; the daemon keeps its open
/// files.
///
/// # Errors
///
/// A system call failed. After the fork only the last steps can fail.
pub(crate) fn daemonize(keep_log: bool, pid_file: Option<&mut PidFile<'_>>) -> Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.context("cannot open /dev/null")?;
    let _ = io::stderr().flush();
    // SAFETY: no other thread exists yet, so the child finds every lock free.
    let forked = unsafe { fork() };
    if let ForkResult::Parent { child } = forked.context("cannot fork")? {
        // Written here, so that the file is complete when the calling process goes on.
        let written = pid_file.map_or(Ok(()), |file| file.write(child));
        // No destructor runs: the child owns socket and file.
        process::exit(i32::from(written.is_err()))
    }
    setsid().context("cannot start a session")?;
    chdir("/").context("cannot change to /")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    if !keep_log {
        dup2_stderr(&null)?;
    }
    Ok(())
}
