//! `kmlog` with options for the log on disk.

use std::io::{self, Write};

use anyhow::{Context, bail};
use kmon_protocol::MONITOR;
use serde::Serialize;

use super::line::LogArgs;
use super::print::print_json;
use super::session::Session;
use crate::disklog::{Body, DiskLogs, Entries, Entry, LogName, Query};
use crate::interrupt::Interrupt;
use crate::text;

/// Lines that a command prints before it follows.
const LINES: usize = 10;

pub(super) fn run(session: &Session, args: &LogArgs) -> anyhow::Result<()> {
    let logs = session.monitor.disk_logs()?;
    let name = log_name(session, args)?;
    let disk = &args.disk;
    let is_short = disk.follow && disk.since.is_none() && disk.grep.is_none();
    let lines = disk
        .lines
        .map(|lines| usize::try_from(lines).unwrap_or(usize::MAX));
    let query = Query {
        since: disk.since,
        pattern: disk.grep.clone(),
        last: lines.or(is_short.then_some(LINES)),
        all_owners: args.all,
        after: None,
    };
    if !logs.flush() {
        // Without standard error there is no way to report this.
        let _ = writeln!(io::stderr(), "kmlog: the newest lines are not written yet");
    }
    let mut entries = logs.entries(name, query);
    let mut printer = Printer {
        instance: args.instance,
        is_json: disk.json,
        is_in_line: false,
    };
    show_all(&mut entries, &mut printer, &session.interrupt)?;
    if disk.follow {
        follow(logs, &mut entries, &mut printer, &session.interrupt)?;
    }
    if let Some(rest) = entries.finish() {
        printer.print(&rest)?;
    }
    printer.end_line()
}

fn log_name(session: &Session, args: &LogArgs) -> anyhow::Result<LogName> {
    match args.instance {
        MONITOR if args.kernel => bail!("1 is KMON itself, which has no kernel"),
        MONITOR => Ok(LogName::Kmon),
        _ => {
            let number = session.monitor.instance(args.instance)?.number;
            Ok(match args.kernel {
                true => LogName::Kernel(number),
                false => LogName::Output(number),
            })
        }
    }
}

/// Prints entries as they are written, until `^C`.
fn follow(
    logs: &DiskLogs,
    entries: &mut Entries,
    printer: &mut Printer,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    while !interrupt.is_set() {
        let seen = logs.writes();
        show_all(entries, printer, interrupt)?;
        while !logs.wait_written(seen, Interrupt::POLL_INTERVAL) && !interrupt.is_set() {}
    }
    Ok(())
}

fn show_all(
    entries: &mut Entries,
    printer: &mut Printer,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    while let Some(entry) = entries.next().context("the log cannot be read")? {
        printer.print(&entry)?;
        if interrupt.is_set() {
            break;
        }
    }
    io::stdout().flush().context("standard output")
}

/// Prints entries, each line with its time.
struct Printer {
    instance: u8,
    is_json: bool,
    /// The line that was printed last has no end yet.
    is_in_line: bool,
}

/// The JSON text of an entry.
#[derive(Serialize)]
struct Json {
    instance: u8,
    time: String,
    /// Identifies the output of which `position` counts the bytes.
    output: String,
    position: u64,
    /// The text without escape sequences; `null` where bytes are missing.
    text: Option<String>,
    /// The line continues in the next entry.
    unfinished: bool,
    missed_bytes: u64,
}

impl Printer {
    fn print(&mut self, entry: &Entry) -> anyhow::Result<()> {
        match (&entry.body, self.is_json) {
            // Its first entry tells it.
            (Body::Begin(_), true) => Ok(()),
            (_, true) => print_json(&self.json(entry)),
            (Body::Line(bytes), _) => {
                let is_continued = std::mem::take(&mut self.is_in_line);
                self.write(entry, is_continued, &text::without_escapes(bytes), "\n")
            }
            (Body::Part(bytes), _) => {
                let is_continued = std::mem::replace(&mut self.is_in_line, true);
                self.write(entry, is_continued, &text::without_escapes(bytes), "")
            }
            (Body::Missed(count), _) => {
                self.end_line()?;
                self.write(entry, false, &format!("[{count} bytes are missing]"), "\n")
            }
            (Body::Dropped(count), _) => {
                self.end_line()?;
                let text = format!("[the instance dropped {count} bytes]");
                self.write(entry, false, &text, "\n")
            }
            (Body::Begin(owner), _) => {
                self.end_line()?;
                self.write(entry, false, &format!("[{owner}]"), "\n")
            }
        }
    }

    fn write(&self, entry: &Entry, continued: bool, text: &str, end: &str) -> anyhow::Result<()> {
        let mut stdout = io::stdout().lock();
        let written = match continued {
            true => write!(stdout, "{text}{end}"),
            false => write!(stdout, "{} {text}{end}", entry.time),
        };
        written.context("standard output")
    }

    fn end_line(&mut self) -> anyhow::Result<()> {
        if !std::mem::take(&mut self.is_in_line) {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        let ended = stdout.write_all(b"\n").and_then(|()| stdout.flush());
        ended.context("standard output")
    }

    fn json(&self, entry: &Entry) -> Json {
        let (text, unfinished, missed_bytes) = match &entry.body {
            Body::Line(bytes) => (Some(text::without_escapes(bytes)), false, 0),
            Body::Part(bytes) => (Some(text::without_escapes(bytes)), true, 0),
            Body::Missed(count) | Body::Dropped(count) => (None, false, *count),
            Body::Begin(_) => (None, false, 0),
        };
        Json {
            instance: self.instance,
            time: entry.time.to_string(),
            output: format!("{:016x}", entry.output),
            position: entry.position,
            text,
            unfinished,
            missed_bytes,
        }
    }
}
