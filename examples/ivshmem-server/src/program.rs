//! The program `ivshmem-server`: serves until a signal ends it.

use std::fmt::Display;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::getpid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cli::Args;
use crate::daemon::{self, PidFile};
use crate::server::{Event, Limits, Server};

/// Runs the `ivshmem-server` program.
pub fn run() -> ExitCode {
    match serve(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes one line to standard error. Ignores errors, so that the server goes on.
fn log(line: impl Display) {
    let _ = writeln!(io::stderr(), "ivshmem-server: {line}");
}

fn serve(args: &Args) -> Result<()> {
    let limits = Limits {
        vectors: args.vectors,
        peers: args.peers,
    };
    allow_descriptors(limits)?;
    let signals = take_signals().context("cannot block signals")?;
    let memory = args.memory.open(args.size)?;
    let len = memory.window().len();
    let memory = memory.as_fd().try_clone_to_owned();
    let mut server = Server::bind(&args.socket, memory.context("cannot share memory")?, limits)?;
    daemon::redirect_log(args.log.as_deref())?;
    // After the socket, so that the file of a living server is not overwritten.
    let mut pid_file = args.pid_file.as_deref().map(PidFile::create).transpose()?;
    log(format!(
        "serves {} ({len} bytes) at {}: vectors {}, peers up to {}",
        args.memory,
        args.socket.display(),
        limits.vectors,
        limits.peers
    ));
    if !args.foreground {
        daemon::daemonize(args.log.is_some(), pid_file.as_mut())?;
    } else if let Some(file) = &mut pid_file {
        file.write(getpid())?;
    }
    while !asked_to_stop(&server, &signals)? {
        for event in server.run_once(Some(Duration::ZERO))? {
            if args.verbose || !matches!(event, Event::Slow { .. }) {
                log(event);
            }
        }
    }
    log("ends");
    Ok(())
}

/// Raises the limit of open files to what `limits` may need, as far as the system allows it.
fn allow_descriptors(limits: Limits) -> Result<()> {
    let needed = limits.descriptors() as u64 + 8;
    let now = getrlimit(Resource::Nofile);
    let is_enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    ensure!(
        is_enough(now.maximum),
        "{} peers with {} vectors may need {needed} open files, the limit is {}: \
         raise it (ulimit -Hn), or allow fewer",
        limits.peers,
        limits.vectors,
        now.maximum.unwrap_or(0)
    );
    if !is_enough(now.current) {
        let current = Some(needed);
        let more = Rlimit { current, ..now };
        setrlimit(Resource::Nofile, more).context("cannot raise the limit of open files")?;
    }
    Ok(())
}

/// Blocks the signals that end the server, and returns a descriptor that reads them.
fn take_signals() -> nix::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Waits until `server` has work or a signal comes. Returns true for a signal.
fn asked_to_stop(server: &Server, signals: &SignalFd) -> io::Result<bool> {
    let mut events = [
        PollFd::new(server, PollFlags::IN),
        PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
    ];
    match poll(&mut events, None) {
        Ok(_) | Err(Errno::INTR) => Ok(!events[1].revents().is_empty()),
        Err(error) => Err(error.into()),
    }
}
