//! Child processes whose output is read while they run, and which end when this program is
//! interrupted.

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::interrupt;

/// Time between two checks of a child that prints nothing.
const TICK: Duration = Duration::from_millis(50);
/// Time that a child has to end after it was asked to, and that a process which it left may
/// keep its output open.
const GRACE: Duration = Duration::from_secs(3);

/// How a child ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Exited(ExitStatus),
    /// It ran longer than its limit and was killed.
    OverLimit,
    /// This program was asked to end.
    Interrupted,
}

/// The outputs of a child to read; standard error is inherited if it is not read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capture {
    Stdout,
    Both,
}

/// Returns this program's standard error as the output of a child.
pub(crate) fn to_stderr() -> Result<Stdio> {
    let copy = io::stderr().as_fd().try_clone_to_owned();
    Ok(copy.context("cannot duplicate standard error")?.into())
}

/// Runs `command` to its end, and calls `on_line` with each line that it prints.
///
/// The child leads a process group of its own, so that processes which it started end with it.
pub(crate) fn run(
    mut command: Command,
    capture: Capture,
    limit: Duration,
    mut on_line: impl FnMut(&str),
) -> Result<Ended> {
    // One pipe, so that the lines of both outputs keep their order.
    let (output, end) = io::pipe().context("cannot create a pipe")?;
    if capture == Capture::Both {
        command.stderr(end.try_clone().context("cannot duplicate a pipe")?);
    }
    command.stdin(Stdio::null()).stdout(end);
    let mut child = command
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    // It holds the pipe's other end.
    drop(command);
    let (sender, lines) = mpsc::channel();
    send_lines(output, sender);
    let ended = supervise(&mut child, &lines, limit, &mut on_line)?;
    drain(&child, &lines, &mut on_line);
    Ok(ended)
}

/// Passes lines on until the child has ended or was ended.
fn supervise(
    child: &mut Child,
    lines: &Receiver<String>,
    limit: Duration,
    on_line: &mut impl FnMut(&str),
) -> Result<Ended> {
    let deadline = Instant::now() + limit;
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => on_line(&line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => thread::sleep(TICK / 10),
        }
        if let Some(status) = child.try_wait()? {
            return Ok(Ended::Exited(status));
        }
        let ended = if interrupt::interrupted() {
            Ended::Interrupted
        } else if Instant::now() >= deadline {
            Ended::OverLimit
        } else {
            continue;
        };
        end(child)?;
        return Ok(ended);
    }
}

/// Asks the child's process group to end; kills it after a time.
fn end(child: &mut Child) -> Result<()> {
    signal_group(child, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        thread::sleep(TICK);
    }
    signal_group(child, Signal::KILL);
    child.wait()?;
    Ok(())
}

/// Passes on what the ended child left in its pipes. Kills other processes that keep the pipes
/// open for too long.
fn drain(child: &Child, lines: &Receiver<String>, on_line: &mut impl FnMut(&str)) {
    let deadline = Instant::now() + GRACE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) => on_line(&line),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    eprintln!("note: the command left processes that keep its output open; ending them");
    signal_group(child, Signal::KILL);
}

fn signal_group(child: &Child, signal: Signal) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // Ignored: the group may have ended already.
        let _ = kill_process_group(group, signal);
    }
}

fn send_lines(output: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while let Ok(1..) = output.read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line);
            if lines.send(text.trim_end().to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn every_line_arrives_before_the_status() {
        let mut seen = Vec::new();
        let script = "echo one; echo two >&2; printf three; exit 3";
        let ended = run(shell(script), Capture::Both, GRACE * 10, |line| {
            seen.push(line.to_owned());
        });
        assert!(matches!(ended, Ok(Ended::Exited(status)) if status.code() == Some(3)));
        seen.sort();
        assert_eq!(seen, ["one", "three", "two"]);
    }

    #[test]
    fn a_child_over_its_limit_ends_with_its_children() {
        let start = Instant::now();
        let limit = Duration::from_millis(100);
        let ended = run(shell("sleep 60 & sleep 60"), Capture::Stdout, limit, |_| {});
        assert!(matches!(ended, Ok(Ended::OverLimit)));
        assert!(start.elapsed() < GRACE);
    }
}
