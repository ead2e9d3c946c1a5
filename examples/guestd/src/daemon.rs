//! Makes the process a daemon: detaches it from its terminal and its parent.
//!
//! Called before any thread is started, and after the region is mapped so that child processes
//! inherit the mapping. A mapping outlives its descriptor.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::process;

use anyhow::{Context, Result};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::pipe::{PipeFlags, pipe_with};

/// The first descriptor that is not standard input, output or error.
const FIRST_OTHER: RawFd = 3;
/// Descriptors checked if `/proc` does not list them.
const WITHOUT_PROC: RawFd = 1024;
/// The byte that reports that the daemon has started.
const STARTED: u8 = 0;

/// Makes this process a daemon. The calling process exits as soon as the result is reported to
/// [`Readiness`], with a status and the one-line error if there is one.
///
/// # Errors
/// The log cannot be opened, or the fork fails.
pub(crate) fn init_daemon(log: Option<&Path>) -> Result<Readiness> {
    let output = match log {
        Some(path) => open_log(path)?,
        None => OpenOptions::new()
            .write(true)
            .open("/dev/null")
            .context("cannot open /dev/null")?,
    };
    let input = File::open("/dev/null").context("cannot open /dev/null")?;
    let (result, reporter) = pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;

    umask(Mode::empty());
    // SAFETY: no thread but this one exists yet, so the child finds every lock free.
    let forked = unsafe { fork() };
    match forked.context("cannot fork")? {
        ForkResult::Parent { .. } => {
            drop(reporter);
            process::exit(wait_for_result(result))
        }
        ForkResult::Child => drop(result),
    }
    let mut readiness = Readiness(Some(File::from(reporter)));
    match detach(&input, &output, &readiness) {
        Ok(()) => Ok(readiness),
        Err(error) => {
            readiness.failed(&error);
            Err(error)
        }
    }
}

fn detach(input: &File, output: &File, readiness: &Readiness) -> Result<()> {
    setsid().context("cannot start a session")?;
    chdir("/").context("cannot change to /")?;
    dup2_stdin(input)?;
    dup2_stdout(output)?;
    dup2_stderr(output)?;
    let keep = [
        Some(input.as_raw_fd()),
        Some(output.as_raw_fd()),
        readiness.0.as_ref().map(File::as_raw_fd),
    ];
    // The region's descriptor too: the mapping does not need it any more.
    for descriptor in other_descriptors() {
        if !keep.contains(&Some(descriptor)) {
            let _ = nix::unistd::close(descriptor);
        }
    }
    Ok(())
}

/// Prepares the process to stay in the foreground: programs that it starts inherit no descriptor,
/// in particular not the region's.
///
/// # Errors
///
/// The log cannot be opened.
pub(crate) fn stay_in_foreground(log: Option<&Path>) -> Result<()> {
    for descriptor in other_descriptors() {
        // SAFETY: nothing closes a descriptor between the listing and here: no
        // other thread exists. One that is closed already only gives an error.
        let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let _ = fcntl_setfd(descriptor, FdFlags::CLOEXEC);
    }
    if let Some(path) = log {
        dup2_stderr(open_log(path)?)?;
    }
    Ok(())
}

fn open_log(path: &Path) -> Result<File> {
    let log = OpenOptions::new().create(true).append(true).open(path);
    log.with_context(|| format!("cannot open the log {}", path.display()))
}

fn other_descriptors() -> Vec<RawFd> {
    let Ok(listing) = fs::read_dir("/proc/self/fd") else {
        return (FIRST_OTHER..WITHOUT_PROC).collect();
    };
    let numbers = listing.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter(|&number| number >= FIRST_OTHER).collect()
}

/// The parent waits here for the daemon's result, prints its error, and returns the exit status.
fn wait_for_result(result: OwnedFd) -> i32 {
    let mut message = Vec::new();
    let read = File::from(result).read_to_end(&mut message);
    match (read, message.as_slice()) {
        (Ok(_), [STARTED]) => 0,
        (Ok(_), []) => {
            crate::log("the daemon ended during its start; --log FILE keeps its messages");
            1
        }
        _ => {
            crate::log(String::from_utf8_lossy(&message));
            1
        }
    }
}

/// Reports the result of the start to the process that started the daemon.
pub(crate) struct Readiness(Option<File>);

impl Readiness {
    /// For the foreground, where no process waits for the result.
    pub(crate) fn unneeded() -> Self {
        Self(None)
    }

    /// Reports that the daemon is attached, or waits for KMON.
    pub(crate) fn ready(&mut self) {
        self.send(&[STARTED]);
    }

    /// Reports that the daemon cannot start.
    pub(crate) fn failed(&mut self, error: &anyhow::Error) {
        self.send(format!("{error:#}").as_bytes());
    }

    /// Sends the result. The parent may be gone; then nothing happens.
    fn send(&mut self, result: &[u8]) {
        if let Some(mut pipe) = self.0.take() {
            let _ = pipe.write_all(result);
        }
    }
}
