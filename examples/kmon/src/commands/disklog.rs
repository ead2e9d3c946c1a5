//! `kmlog` with options for the log on disk.

use std::io::{self, Write};

use anyhow::{Context, bail};

use super::arguments::LogArgs;
use super::print::print_json;
use super::reading::Reading;
use super::selection::Target;
use super::session::Session;
use super::several::each;
use crate::api::lines::{Line, LinesQuery};

/// Lines that a command prints before it follows.
const LINES: u32 = 10;
/// A longer line is cut where several instances print.
const MAX_LINE: usize = 16 * 1024;

/// Prints lines of KMON's own log.
pub(super) fn of_kmon(session: &Session, args: &LogArgs) -> anyhow::Result<()> {
    if args.kernel {
        bail!("1 is KMON itself, which has no kernel");
    }
    run(session, args, "/v1/notices/lines", None)
}

/// Prints lines of the logs of `targets`, one after the other. Follows all of them at once.
pub(super) fn of_instances(
    session: &Session,
    args: &LogArgs,
    targets: &[Target],
) -> anyhow::Result<()> {
    let at_once = if args.disk.follow { targets.len() } else { 1 };
    each(targets, at_once, |target| {
        let path = format!("/v1/instances/{}/lines", target.number);
        run(
            session,
            args,
            &path,
            target.label.is_some().then_some(target.number),
        )
    })
}

fn run(session: &Session, args: &LogArgs, path: &str, label: Option<u8>) -> anyhow::Result<()> {
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
    let mut reading = Reading::open(&session.client, path, query)?;
    if !reading.is_written() {
        // Without standard error there is no way to report this.
        let _ = writeln!(io::stderr(), "kmlog: the newest lines are not written yet");
    }
    let mut printer = Printer {
        is_json: disk.json,
        label,
        part: String::new(),
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

/// Prints lines, each with its time.
struct Printer {
    is_json: bool,
    /// The number of the instance, where several instances print.
    label: Option<u8>,
    /// The parts of the last line that were not printed yet, because others print, too.
    part: String,
    /// The line that was printed last has no end yet.
    is_in_line: bool,
}

impl Printer {
    fn print(&mut self, line: &Line) -> anyhow::Result<()> {
        if self.is_json {
            return print_json(line);
        }
        if let Some(text) = &line.text {
            return match self.label {
                None => self.print_part(line, text),
                Some(_) => self.collect_part(line, text),
            };
        }
        self.end_line()?;
        let text = match &line.begins {
            Some(owner) => format!("[{owner}]"),
            None if line.end > line.position => {
                format!("[{} bytes are missing]", line.missed_bytes)
            }
            None => format!("[the instance dropped {} bytes]", line.missed_bytes),
        };
        self.write(&format!("{} {text}\n", line.time))
    }

    fn print_part(&mut self, line: &Line, text: &str) -> anyhow::Result<()> {
        let is_continued = std::mem::replace(&mut self.is_in_line, line.unfinished);
        let time = match is_continued {
            true => String::new(),
            false => format!("{} ", line.time),
        };
        let end = if line.unfinished { "" } else { "\n" };
        self.write(&format!("{time}{text}{end}"))
    }

    fn collect_part(&mut self, line: &Line, text: &str) -> anyhow::Result<()> {
        if self.part.is_empty() {
            self.part = format!("{} ", line.time);
        }
        self.part.push_str(text);
        match line.unfinished && self.part.len() < MAX_LINE {
            true => Ok(()),
            false => self.end_line(),
        }
    }

    fn end_line(&mut self) -> anyhow::Result<()> {
        let part = std::mem::take(&mut self.part);
        if std::mem::take(&mut self.is_in_line) || !part.is_empty() {
            return self.write(&format!("{part}\n"));
        }
        Ok(())
    }

    fn write(&self, text: &str) -> anyhow::Result<()> {
        let label = self.label.map(|n| format!("{n}| ")).unwrap_or_default();
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(format!("{label}{text}").as_bytes());
        written.context("standard output")
    }
}
