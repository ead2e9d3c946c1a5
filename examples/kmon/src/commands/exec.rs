//! `kmexec`: one command in an instance, apart from its console.

use std::fmt;
use std::io::{IsTerminal, Write};

use anyhow::{Context, anyhow, bail};
use serde::Serialize;

use super::arguments::ExecArgs;
use super::print::print_json;
use super::session::Session;
use crate::api::exec::{Ended, Last, Request, STDERR, Stop};
use crate::client::{Received, Socket};
use crate::instance::modes::Modes;
use crate::interrupt::Interrupt;
use crate::terminal;

/// Bytes of standard output and of standard error that `--json` keeps, each.
const MAX_JSON: usize = 64 * 1024 * 1024;
/// Bytes written at once, so that `^C` acts soon at a slow terminal.
const PIECE: usize = 4096;

#[derive(Serialize)]
struct Report<'a> {
    instance: u8,
    command: &'a [String],
    exit_status: Option<i32>,
    signal: Option<i32>,
    timed_out: bool,
    error: Option<&'a str>,
    stdout: String,
    stderr: String,
    dropped_bytes: u64,
}

/// A command that has not succeeded, as an exit status for a shell.
#[derive(Debug)]
pub(crate) struct CommandFailed {
    pub(crate) status: u8,
    message: String,
    /// The status says it all.
    pub(crate) has_exited: bool,
}

impl fmt::Display for CommandFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CommandFailed {}

pub(super) fn run(session: &Session, args: ExecArgs) -> anyhow::Result<()> {
    let path = format!("/v1/instances/{}/exec", args.instance);
    let mut socket = Socket::open(&session.client, &path)?;
    socket.send(&Request {
        command: args.command.clone(),
        timeout_s: args.timeout,
    })?;
    let mut output = Output::new(args.json);
    let ended = follow(&mut socket, &session.interrupt, &mut output)?;
    if let Some(collected) = &output.collected {
        print_json(&report(&args, collected, &ended))?;
    }
    let skipped = ended.skipped_bytes + output.skipped;
    drop(output);
    check_ending(&ended, &args, skipped)?;
    if ended.dropped_bytes > 0 {
        let dropped = ended.dropped_bytes;
        bail!("{dropped} bytes of output are missing: KMON did not receive them in time");
    }
    Ok(())
}

/// Passes the output on until the command ends. `^C` kills it, and drops its remaining output.
fn follow(
    socket: &mut Socket,
    interrupt: &Interrupt,
    output: &mut Output,
) -> anyhow::Result<Ended> {
    let mut is_stopped = false;
    loop {
        if interrupt.is_set() && !is_stopped {
            is_stopped = true;
            socket.send(&Stop { kill: true })?;
        }
        match socket.receive(Interrupt::POLL_INTERVAL)? {
            Received::Bytes(message) => output.pass_on(&message, interrupt)?,
            Received::Value(Last::Ended(ended)) => return Ok(ended),
            Received::Value(Last::Error(fault)) => return Err(fault.into()),
            Received::Nothing => {}
            Received::Closed => {
                bail!("the connection to the server broke; the command was killed")
            }
        }
    }
}

/// Returns an error of one line unless the command succeeded.
fn check_ending(ended: &Ended, args: &ExecArgs, skipped: u64) -> anyhow::Result<()> {
    let after_skip = match skipped {
        0 => String::new(),
        skipped => format!("; {skipped} bytes of output were skipped"),
    };
    let (status, message) = if let Some(status) = ended.exit_status {
        (status, format!("exit status {status}{after_skip}"))
    } else if let Some(signal) = ended.signal {
        (
            128 + signal,
            format!("killed by signal {signal}{after_skip}"),
        )
    } else if ended.timed_out {
        let seconds = args.timeout.unwrap_or_default();
        (
            124,
            format!("timed out after {seconds} s; the command was killed"),
        )
    } else {
        (127, ended.error.clone().unwrap_or_default())
    };
    if status == 0 {
        return Ok(());
    }
    Err(anyhow!(CommandFailed {
        // Only a failure gets here.
        status: u8::try_from(status & 0xff).unwrap_or(1).max(1),
        message,
        has_exited: ended.exit_status.is_some() && skipped == 0,
    }))
}

fn report<'a>(args: &'a ExecArgs, collected: &Collected, ended: &'a Ended) -> Report<'a> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Report {
        instance: args.instance,
        command: &args.command,
        exit_status: ended.exit_status,
        signal: ended.signal,
        timed_out: ended.timed_out,
        error: ended.error.as_deref(),
        stdout: text(&collected.out),
        stderr: text(&collected.err),
        dropped_bytes: ended.dropped_bytes + collected.dropped,
    }
}

/// Where the output goes. Its destructor resets the modes of the operator's terminal that the
/// output has set, also after a command that was killed inside an editor.
struct Output {
    modes: Modes,
    collected: Option<Collected>,
    /// Bytes that were not shown after a `^C`.
    skipped: u64,
}

/// Output that is collected for `--json`.
#[derive(Default)]
struct Collected {
    out: Vec<u8>,
    err: Vec<u8>,
    dropped: u64,
}

impl Output {
    fn new(is_collected: bool) -> Self {
        Self {
            modes: Modes::default(),
            collected: is_collected.then(Collected::default),
            skipped: 0,
        }
    }

    /// Passes on a message with output.
    fn pass_on(&mut self, message: &[u8], interrupt: &Interrupt) -> anyhow::Result<()> {
        let Some((&stream, bytes)) = message.split_first() else {
            return Ok(());
        };
        if let Some(collected) = &mut self.collected {
            collected.add(stream, bytes);
            return Ok(());
        }
        for piece in bytes.chunks(PIECE) {
            if interrupt.is_set() {
                self.skipped += piece.len() as u64;
            } else {
                self.show(stream, piece)?;
            }
        }
        Ok(())
    }

    fn show(&mut self, stream: u8, bytes: &[u8]) -> anyhow::Result<()> {
        let (mut stdout, mut stderr) = (std::io::stdout(), std::io::stderr());
        let is_terminal = match stream {
            STDERR => stderr.is_terminal(),
            _ => stdout.is_terminal(),
        };
        if is_terminal {
            self.modes.feed(bytes);
            terminal::remember_undo(self.modes.undo());
        }
        if stream == STDERR {
            return stderr.write_all(bytes).context("standard error");
        }
        stdout.write_all(bytes).context("standard output")?;
        stdout.flush().context("standard output")
    }
}

impl Collected {
    fn add(&mut self, stream: u8, bytes: &[u8]) {
        let to = match stream {
            STDERR => &mut self.err,
            _ => &mut self.out,
        };
        if to.len() + bytes.len() > MAX_JSON {
            self.dropped += bytes.len() as u64;
        } else {
            to.extend_from_slice(bytes);
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let undo = self.modes.undo();
        if !undo.is_empty() {
            // A terminal that is gone needs no reset.
            let _ = terminal::write_stdout(&undo);
        }
        terminal::remember_undo(Vec::new());
    }
}
