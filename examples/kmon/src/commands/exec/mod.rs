//! `kmexec`: one command in instances, apart from their consoles.

mod output;

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{anyhow, bail};
use serde::Serialize;

use super::arguments::ExecArgs;
use super::print::print_json;
use super::selection::Target;
use super::session::Session;
use super::several::{AT_ONCE, CommandFailed, each};
use crate::api::exec::{Ended, Last, Request, Stop};
use crate::api::instances::Row;
use crate::client::{Received, Socket};
use crate::interrupt::Interrupt;
use output::{Collected, Output};

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

pub(super) fn run(session: &Session, args: &ExecArgs) -> anyhow::Result<()> {
    let instances = std::slice::from_ref(&args.instances);
    let targets = session.choose(instances, Row::is_alive)?;
    let stops = Stops::new(&session.interrupt);
    each(&targets, AT_ONCE, |target| {
        let done = run_in(session, args, target, &stops);
        if args.json
            && target.label.is_some()
            && let Err(error) = &done
            && !error.is::<CommandFailed>()
        {
            let ended = Ended {
                error: Some(format!("{error:#}")),
                ..Ended::default()
            };
            print_json(&report(args, target.number, &Collected::default(), &ended))?;
        }
        done
    })
}

/// The requests to end the commands: how often `^C` was pressed.
struct Stops<'a> {
    interrupt: &'a Interrupt,
    count: AtomicU32,
}

impl<'a> Stops<'a> {
    fn new(interrupt: &'a Interrupt) -> Self {
        Self {
            interrupt,
            count: AtomicU32::new(0),
        }
    }

    fn count(&self) -> u32 {
        if self.interrupt.take() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Stops<'_> {
    /// Lets the caller see the interrupt.
    fn drop(&mut self) {
        if *self.count.get_mut() > 0 {
            self.interrupt.set();
        }
    }
}

fn run_in(
    session: &Session,
    args: &ExecArgs,
    target: &Target,
    stops: &Stops<'_>,
) -> anyhow::Result<()> {
    if stops.count() > 0 {
        bail!("interrupted; nothing was run");
    }
    let path = format!("/v1/instances/{}/exec", target.number);
    let mut socket = Socket::open(&session.client, &path)?;
    socket.send(&Request {
        command: args.command.clone(),
        timeout_s: args.timeout,
    })?;
    let mut output = match (args.json, &target.label) {
        (true, _) => Output::collected(),
        (false, Some(label)) => Output::labelled(label),
        (false, None) => Output::raw(),
    };
    let ended = follow(&mut socket, stops, &mut output)?;
    let skipped = ended.skipped_bytes + output.skipped;
    if let Some(collected) = output.finish()? {
        print_json(&report(args, target.number, &collected, &ended))?;
    }
    check_ending(&ended, args, skipped)?;
    if ended.dropped_bytes > 0 {
        let dropped = ended.dropped_bytes;
        bail!("{dropped} bytes of output are missing: KMON did not receive them in time");
    }
    Ok(())
}

/// Passes the output on until the command ends. `^C` asks it to end, a second one kills it; the
/// remaining output is dropped.
fn follow(socket: &mut Socket, stops: &Stops<'_>, output: &mut Output) -> anyhow::Result<Ended> {
    let mut sent = 0;
    loop {
        if stops.count() > sent {
            sent = stops.count();
            socket.send(&Stop { kill: true })?;
        }
        match socket.receive(Interrupt::POLL_INTERVAL)? {
            Received::Bytes(message) => output.pass_on(&message, &|| stops.count() > 0)?,
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
            format!("timed out after {seconds} s; the command was ended"),
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

fn report<'a>(
    args: &'a ExecArgs,
    instance: u8,
    collected: &Collected,
    ended: &'a Ended,
) -> Report<'a> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Report {
        instance,
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
