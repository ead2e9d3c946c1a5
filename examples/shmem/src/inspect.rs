//! `shmem inspect`.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cli::Inspect;
use crate::look::{Options, Subject, look};
use crate::open::Opened;
use crate::output::{FOUND, print};
use crate::report::{Report, Source, Trace};
use crate::{fault, show};

/// Between the two looks at a live region: a beat at least of those who live, but of KMON's
/// instances that are rung, which beat once a second.
const BETWEEN: Duration = Duration::from_millis(300);
/// Looks at a region that is formatted anew between any two.
const FORMATS: u32 = 5;
/// To the top left, and nothing below.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Runs the command.
pub(crate) fn run(args: &Inspect) -> Result<ExitCode> {
    fault::say_so()?;
    let opened = args.place.open(args.offset)?;
    let live = opened.source() == Source::Live;
    ensure!(
        live || args.watch.is_none(),
        "a dump does not change: --watch is for memory in use"
    );
    let looker = Looker::new(&opened, args.records);
    let mut earlier = live.then(|| Trace::of(&looker.look()));
    let mut pause = BETWEEN;
    let mut left = args.count.unwrap_or(u64::MAX);
    loop {
        let (seen, trace) = looker.look_after(earlier, pause);
        tell(&seen, args)?;
        left = left.saturating_sub(1);
        match args.watch.filter(|_| left != 0) {
            Some(period) => pause = period,
            None if seen.sound => return Ok(ExitCode::SUCCESS),
            None => return Ok(ExitCode::from(FOUND)),
        }
        earlier = Some(trace);
    }
}

/// One place that is looked at again and again.
struct Looker<'o> {
    opened: &'o Opened,
    place: String,
    options: Options,
}

impl<'o> Looker<'o> {
    fn new(opened: &'o Opened, records: usize) -> Self {
        Self {
            opened,
            place: crate::text::printable(&opened.place.to_string()),
            options: Options { records },
        }
    }

    /// Looks, `pause` behind an earlier look, against which it is held; and what has
    /// to be kept of it for the next.
    fn look_after(&self, earlier: Option<Trace>, pause: Duration) -> (Report, Trace) {
        let Some(mut earlier) = earlier else {
            let seen = self.look();
            let trace = Trace::of(&seen);
            return (seen, trace);
        };
        let mut attempts = 0;
        loop {
            thread::sleep(pause);
            let mut seen = self.look();
            let trace = Trace::of(&seen);
            if trace.is_of_same_region(&earlier) {
                seen.confirm(&earlier);
                return (seen, trace);
            }
            // Formatted meanwhile; somebody who does that all the time is told of.
            attempts += 1;
            if attempts == FORMATS {
                return (seen, trace);
            }
            earlier = trace;
        }
    }

    fn look(&self) -> Report {
        let subject = Subject {
            place: &self.place,
            offset: self.opened.offset,
            memory: self.opened.window(),
            there: self.opened.there(),
            source: self.opened.source(),
        };
        look(&subject, &self.options)
    }
}

fn tell(report: &Report, args: &Inspect) -> Result<()> {
    if args.json {
        return Ok(print(|out| {
            serde_json::to_writer(&mut *out, report)?;
            out.write_all(b"\n")
        })?);
    }
    let width = width();
    let text = show::text(report, width);
    let (before, behind) = match (args.watch.is_some(), width) {
        (false, _) => ("", ""),
        (true, Some(_)) => (CLEAR, ""),
        (true, None) => ("", "\n"),
    };
    Ok(print(|out| write!(out, "{before}{text}{behind}"))?)
}

/// Columns of the terminal, if the output goes to one.
fn width() -> Option<u16> {
    let out = std::io::stdout();
    let size = out
        .is_terminal()
        .then(|| rustix::termios::tcgetwinsize(&out));
    size?
        .ok()
        .map(|size| size.ws_col)
        .filter(|&columns| columns != 0)
}
