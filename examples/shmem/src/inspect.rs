//! `shmem inspect`.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cli::Inspect;
use crate::inspection::{Options, Subject, inspect};
use crate::open::Opened;
use crate::output::{FOUND, print};
use crate::report::{Report, Source, Trace};
use crate::{fault, show};

/// Time between the two inspections of a live region: at least one heartbeat of living
/// partitions. Instances of KMON with a doorbell beat only once a second.
const BETWEEN: Duration = Duration::from_millis(300);
/// The number of inspections after which a region counts as constantly formatted again.
const FORMATS: u32 = 5;
/// Moves the cursor to the top left, and clears the screen below it.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Runs the command.
pub(crate) fn run(args: &Inspect) -> Result<ExitCode> {
    fault::catch()?;
    let opened = args.place.open(args.offset)?;
    let live = opened.source() == Source::Live;
    ensure!(
        live || args.watch.is_none(),
        "a dump does not change: --watch is for memory in use"
    );
    let inspector = Inspector::new(&opened, args.records);
    let mut earlier = live.then(|| Trace::from_report(&inspector.inspect()));
    let mut pause = BETWEEN;
    let mut left = args.count.unwrap_or(u64::MAX);
    loop {
        let (report, trace) = inspector.inspect_after(earlier, pause);
        print_report(&report, args)?;
        left = left.saturating_sub(1);
        match args.watch.filter(|_| left != 0) {
            Some(period) => pause = period,
            None if report.sound => return Ok(ExitCode::SUCCESS),
            None => return Ok(ExitCode::from(FOUND)),
        }
        earlier = Some(trace);
    }
}

/// Inspects one place repeatedly.
struct Inspector<'o> {
    opened: &'o Opened,
    place: String,
    options: Options,
}

impl<'o> Inspector<'o> {
    fn new(opened: &'o Opened, records: usize) -> Self {
        Self {
            opened,
            place: crate::text::printable(&opened.place.to_string()),
            options: Options { records },
        }
    }

    /// Inspects the region `pause` after an earlier inspection, and compares the two. Returns the
    /// report, and the trace for the next inspection.
    fn inspect_after(&self, earlier: Option<Trace>, pause: Duration) -> (Report, Trace) {
        let Some(mut earlier) = earlier else {
            let report = self.inspect();
            let trace = Trace::from_report(&report);
            return (report, trace);
        };
        let mut attempts = 0;
        loop {
            thread::sleep(pause);
            let mut report = self.inspect();
            let trace = Trace::from_report(&report);
            if trace.is_same_region(&earlier) {
                report.confirm(&earlier);
                return (report, trace);
            }
            // The region was formatted meanwhile. If that goes on, report it without a comparison.
            attempts += 1;
            if attempts == FORMATS {
                return (report, trace);
            }
            earlier = trace;
        }
    }

    fn inspect(&self) -> Report {
        let subject = Subject {
            place: &self.place,
            offset: self.opened.offset,
            memory: self.opened.window(),
            available: self.opened.available(),
            source: self.opened.source(),
        };
        inspect(&subject, &self.options)
    }
}

fn print_report(report: &Report, args: &Inspect) -> Result<()> {
    if args.json {
        return Ok(print(|out| {
            serde_json::to_writer(&mut *out, report)?;
            out.write_all(b"\n")
        })?);
    }
    let width = width();
    let text = show::text(report, width);
    let (before, after) = match (args.watch.is_some(), width) {
        (false, _) => ("", ""),
        (true, Some(_)) => (CLEAR, ""),
        (true, None) => ("", "\n"),
    };
    Ok(print(|out| write!(out, "{before}{text}{after}"))?)
}

/// Returns the width of the terminal, if the output is one.
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
