//! Leaving the terminal and the parent behind: the six rules of a daemon.
//!
//! Called before any thread is made, and after the region is mapped, for children too:
//! a mapping outlives the descriptor it was made from.

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
/// Descriptors looked at where `/proc` does not list them.
const WITHOUT_PROC: RawFd = 1024;
/// The one byte that says the daemon has started.
const STARTED: u8 = 0;

/// Makes this process a daemon; the one that called exits as soon as the
/// [`Readiness`] is told, with its status and with its one-line error if there is one.
///
/// # Errors
///
/// Before the fork: the log cannot be opened, the system has no process to spare.
pub(crate) fn init_daemon(log: Option<&Path>) -> Result<Readiness> {
    let output = match log {
        Some(path) => open_log(path)?,
        None => OpenOptions::new()
            .write(true)
            .open("/dev/null")
            .context("cannot open /dev/null")?,
    };
    let input = File::open("/dev/null").context("cannot open /dev/null")?;
    let (news, teller) = pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;

    umask(Mode::empty());
    // SAFETY: no thread but this one exists yet, so the child finds every lock free.
    let forked = unsafe { fork() };
    match forked.context("cannot fork")? {
        ForkResult::Parent { .. } => {
            drop(teller);
            process::exit(wait_for_news(news))
        }
        ForkResult::Child => drop(news),
    }
    let mut readiness = Readiness(Some(File::from(teller)));
    match leave(&input, &output, &readiness) {
        Ok(()) => Ok(readiness),
        Err(error) => {
            readiness.failed(&error);
            Err(error)
        }
    }
}

fn leave(input: &File, output: &File, readiness: &Readiness) -> Result<()> {
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
    // The region's too: its mapping stays, and uses the descriptor for nothing more.
    for descriptor in other_descriptors() {
        if !keep.contains(&Some(descriptor)) {
            let _ = nix::unistd::close(descriptor);
        }
    }
    Ok(())
}

/// What is left of this in the foreground: programs that the daemon starts
/// inherit no descriptor, least of all the region's.
///
/// # Errors
///
/// The log cannot be opened.
pub(crate) fn stay(log: Option<&Path>) -> Result<()> {
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

/// The parent's part: passes on what the daemon says, and gives the exit status.
fn wait_for_news(news: OwnedFd) -> i32 {
    let mut said = Vec::new();
    let heard = File::from(news).read_to_end(&mut said);
    match (heard, said.as_slice()) {
        (Ok(_), [STARTED]) => 0,
        (Ok(_), []) => {
            crate::log("the daemon ended before it had started; --log FILE keeps what it says");
            1
        }
        _ => {
            crate::log(String::from_utf8_lossy(&said));
            1
        }
    }
}

/// Where the daemon tells the process that started it how the start went.
pub(crate) struct Readiness(Option<File>);

impl Readiness {
    /// In the foreground nobody waits for it.
    pub(crate) fn unneeded() -> Self {
        Self(None)
    }

    /// The daemon is attached, or waits for KMON.
    pub(crate) fn ready(&mut self) {
        self.tell(&[STARTED]);
    }

    /// The daemon cannot start.
    pub(crate) fn failed(&mut self, error: &anyhow::Error) {
        self.tell(format!("{error:#}").as_bytes());
    }

    /// The parent may be gone; that is no reason to stop.
    fn tell(&mut self, news: &[u8]) {
        if let Some(mut pipe) = self.0.take() {
            let _ = pipe.write_all(news);
        }
    }
}
