//! `kmlog` with options for the log on disk.

use std::io::{self, Write};

use anyhow::{Context, bail};
use kmon_protocol::MONITOR;

use super::arguments::LogArgs;
use super::print::print_json;
use super::reading::Reading;
use super::session::Session;
use crate::api::lines::{Line, LinesQuery};

/// Lines that a command prints before it follows.
const LINES: u32 = 10;

pub(super) fn run(session: &Session, args: &LogArgs) -> anyhow::Result<()> {
    let disk = &args.disk;
    let is_short = disk.follow && disk.since.is_none() && disk.grep.is_none();
    let query = LinesQuery {
        kernel: args.kernel,
        all: args.all,
        since: disk.since.map(|since| since.to_string()),
        grep: disk
            .grep
            .as_ref()
            .map(|pattern| pattern.as_str().to_owned()),
        last: disk.lines.or(is_short.then_some(LINES)),
        after: None,
        follow: disk.follow,
    };
    let mut reading = Reading::open(&session.client, &path(args)?, query)?;
    if !reading.is_written() {
        // Without standard error there is no way to report this.
        let _ = writeln!(io::stderr(), "kmlog: the newest lines are not written yet");
    }
    let mut printer = Printer {
        is_json: disk.json,
        is_in_line: false,
    };
    while let Some(line) = reading.next()? {
        printer.print(&line)?;
        if !reading.has_next() {
            io::stdout().flush().context("standard output")?;
        }
    }
    printer.end_line()
}

fn path(args: &LogArgs) -> anyhow::Result<String> {
    match args.instance {
        MONITOR if args.kernel => bail!("1 is KMON itself, which has no kernel"),
        MONITOR => Ok("/v1/notices/lines".into()),
        n => Ok(format!("/v1/instances/{n}/lines")),
    }
}

/// Prints lines, each with its time.
struct Printer {
    is_json: bool,
    /// The line that was printed last has no end yet.
    is_in_line: bool,
}

impl Printer {
    fn print(&mut self, line: &Line) -> anyhow::Result<()> {
        if self.is_json {
            return print_json(line);
        }
        if let Some(text) = &line.text {
            let is_continued = std::mem::replace(&mut self.is_in_line, line.unfinished);
            let end = if line.unfinished { "" } else { "\n" };
            return write(line, is_continued, text, end);
        }
        self.end_line()?;
        let text = match &line.begins {
            Some(owner) => format!("[{owner}]"),
            None if line.end > line.position => {
                format!("[{} bytes are missing]", line.missed_bytes)
            }
            None => format!("[the instance dropped {} bytes]", line.missed_bytes),
        };
        write(line, false, &text, "\n")
    }

    fn end_line(&mut self) -> anyhow::Result<()> {
        if !std::mem::take(&mut self.is_in_line) {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        let ended = stdout.write_all(b"\n").and_then(|()| stdout.flush());
        ended.context("standard output")
    }
}

fn write(line: &Line, is_continued: bool, text: &str, end: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = match is_continued {
        true => write!(stdout, "{text}{end}"),
        false => write!(stdout, "{} {text}{end}", line.time),
    };
    written.context("standard output")
}
