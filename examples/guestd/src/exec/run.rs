//! Runs one command, from its start to its end.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use kmon_protocol::Ending;
use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{getpid, getppid};

use super::image::Image;
use super::pipes::Pipes;
use super::table::{Execs, Request};
use crate::children::{OwnChild, Waited, reason};
use crate::waker::Waker;

/// Time between SIGTERM and SIGKILL for a group.
const GRACE: Duration = Duration::from_secs(2);

/// Runs a command, sends its output, and returns how it ended.
pub(super) fn run(execs: &Execs, request: &Request) -> Ending {
    let started = Waker::new().and_then(|stopped| Ok((start(execs, request)?, stopped)));
    match started {
        Ok((child, stopped)) => follow(execs, request, child, Arc::new(stopped)),
        Err(error) => {
            let program = request.arguments.first().map(|program| program.display());
            let program = program
                .map(|program| program.to_string())
                .unwrap_or_default();
            Ending::NotStarted(format!("cannot start {program}: {}", reason(&error)))
        }
    }
}

fn start(execs: &Execs, request: &Request) -> io::Result<OwnChild> {
    let (program, arguments) = request
        .arguments
        .split_first()
        .ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let daemon = getpid();
    let image = Image::find(&execs.account, program, arguments);
    execs.account.prepare(&mut command, move || {
        rustix::process::setsid()?;
        // E4: the signal arrives when the thread ends that starts the command, which waits for it.
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        if getppid() != daemon {
            return Err(io::ErrorKind::NotFound.into());
        }
        image.as_ref().map_or(Ok(()), Image::execute)
    });
    execs.children.start(&mut command)
}

fn follow(execs: &Execs, request: &Request, mut child: OwnChild, stopped: Arc<Waker>) -> Ending {
    execs.set_group(request.stream, child.pid(), Arc::clone(&stopped));
    let pipes = Pipes::new(&mut child);
    thread::scope(|scope| {
        let reader = thread::Builder::new().name(format!("pipes-{}", request.stream));
        let started = reader.spawn_scoped(scope, || pipes.forward(&execs.outlet, request.stream));
        if started.is_err() {
            crate::log("cannot start a thread for a command's output: command killed");
            execs.kill(request.stream);
        }
        await_end(execs, request, child, &stopped)
    })
}

/// Waits for the end of the command. At its time-out, or when it is stopped, it and its group get
/// SIGTERM, and later SIGKILL.
fn await_end(execs: &Execs, request: &Request, child: OwnChild, stopped: &Waker) -> Ending {
    let waited = child.wait(stopped, request.timeout);
    if waited != Waited::Ended {
        let group = child.pid();
        if waited == Waited::TimedOut {
            let _ = killpg(group, Signal::SIGTERM);
        }
        child.ended_within(Some(GRACE));
        // Not reaped yet, so the number is still that of this group.
        let _ = killpg(group, Signal::SIGKILL);
    }
    execs.forget_group(request.stream);
    let status = child.reap();
    match waited {
        Waited::TimedOut => Ending::TimedOut,
        Waited::Ended | Waited::Stopped => ending(status),
    }
}

fn ending(status: io::Result<ExitStatus>) -> Ending {
    match status {
        Ok(status) => match status.code() {
            Some(code) => Ending::Exited(code),
            None => Ending::Signalled(status.signal().unwrap_or_default()),
        },
        // Only another wait in this process could have taken the status.
        Err(error) => {
            crate::log(format_args!(
                "the exit status of a command is lost: {}",
                reason(&error)
            ));
            Ending::Exited(-1)
        }
    }
}
