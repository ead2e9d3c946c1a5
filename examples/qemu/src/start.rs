//! Starts a machine from a plan.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use nix::errno::Errno;
use nix::libc;

use crate::command_line::{MONITOR, REGION};
use crate::event::End;
use crate::machine::Machine;
use crate::output::Output;
use crate::plan::{Plan, PlanError};
use crate::process::Process;

/// How long to wait for QEMU, which reports errors in its arguments at once.
const PATIENCE: Duration = Duration::from_secs(2);

impl Plan {
    /// Starts the machine on this region, which QEMU keeps open.
    ///
    /// Waits at most two seconds until QEMU has reported its state.
    ///
    /// # Errors
    ///
    /// [`StartError`]. QEMU then does not run.
    pub fn start(&self, region: BorrowedFd<'_>) -> Result<Machine, StartError> {
        self.check().map_err(StartError::Plan)?;
        let len = rustix::fs::fstat(region).map_err(|error| StartError::System(error.into()))?;
        let line = self.command_line(len.st_size.cast_unsigned());
        let output = Output::new().map_err(StartError::System)?;
        let socket = self.listen()?;
        let child = spawn(&line, &output, region, socket.into()).map_err(|error| {
            let _ = fs::remove_file(&self.qmp);
            let program = self.program.display().to_string();
            StartError::Program { program, error }
        })?;
        let process = Process::from_child(child).map_err(StartError::System)?;
        let machine = Machine::new(Arc::new(process), &self.qmp, output);
        let machine = machine.map_err(StartError::System)?;
        match machine.wait_for_start(PATIENCE) {
            None => Ok(machine),
            Some(end) => Err(StartError::Ended {
                end,
                lines: machine.stderr_lines(),
            }),
        }
    }

    /// Creates the monitor's socket before QEMU starts, so that clients can connect at any time.
    fn listen(&self) -> Result<UnixListener, StartError> {
        let failed = |error| StartError::Socket {
            path: self.qmp.display().to_string(),
            error,
        };
        match fs::remove_file(&self.qmp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        UnixListener::bind(&self.qmp).map_err(failed)
    }
}

fn spawn(
    line: &[OsString],
    output: &Output,
    region: BorrowedFd<'_>,
    socket: OwnedFd,
) -> io::Result<Child> {
    let mut command = Command::new(&line[0]);
    command
        .args(&line[1..])
        .stdin(Stdio::null())
        .stdout(output.writer()?)
        .stderr(output.writer()?);
    // SAFETY: the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(detach) };
    let map = |parent_fd, child_fd| FdMapping {
        parent_fd,
        child_fd,
    };
    command
        .fd_mappings(vec![
            map(region.as_fd().try_clone_to_owned()?, REGION),
            map(socket, MONITOR),
        ])
        .map_err(io::Error::other)?;
    command.spawn()
}

/// Begins a new session, and closes all descriptors that are not passed on (M1).
fn detach() -> io::Result<()> {
    nix::unistd::setsid()?;
    let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: this only sets flags of descriptors; none is closed under its owner.
    let done = unsafe { libc::close_range(3, libc::c_uint::MAX, flags) };
    Errno::result(done)?;
    Ok(())
}

/// The reason why a machine did not start.
#[derive(Debug)]
pub enum StartError {
    Plan(PlanError),
    /// QEMU's program could not be run.
    Program {
        program: String,
        error: io::Error,
    },
    /// The socket of its monitor could not be created.
    Socket {
        path: String,
        error: io::Error,
    },
    /// It ended at once, and printed these lines.
    Ended {
        end: End,
        lines: Vec<String>,
    },
    /// A system call failed.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(error) => error.fmt(out),
            Self::Program { program, error } if error.kind() == io::ErrorKind::NotFound => {
                write!(out, "there is no program {program}: is QEMU installed?")
            }
            Self::Program { program, error } => write!(out, "cannot run {program}: {error}"),
            Self::Socket { path, error } => write!(out, "cannot create the socket {path}: {error}"),
            Self::Ended { end, lines } => match lines.last() {
                Some(last) => write!(out, "{end}: {last}"),
                None => end.fmt(out),
            },
            Self::System(error) => write!(out, "cannot start QEMU: {error}"),
        }
    }
}

impl std::error::Error for StartError {}
