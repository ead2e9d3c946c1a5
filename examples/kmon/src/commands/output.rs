//! `kmlog`, `kmwatch`: print the output of instances.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::line::{LogArgs, WatchArgs};
use super::print::print;
use super::session::Session;
use crate::interrupt::Interrupt;
use crate::monitor::Instance;
use crate::{terminal, text};

/// A longer line is cut, so that an instance cannot fill KMON's memory with one line.
const MAX_LINE: usize = 16 * 1024;

pub(super) fn log(session: &Session, args: &LogArgs) -> anyhow::Result<()> {
    if args.disk.is_selected() || args.instance == kmon_protocol::MONITOR {
        return super::disklog::run(session, args);
    }
    let instance = session.monitor.instance(args.instance)?;
    let (bytes, dropped) = {
        let view = instance.shared.lock();
        let log = if args.kernel {
            &view.kernel_log
        } else {
            &view.log
        };
        let from = if args.all { log.start() } else { log.seen() };
        (log.read(from, usize::MAX).1, log.dropped())
    };
    if std::io::stdout().is_terminal() {
        let text = text::without_escapes(&bytes);
        if !text.is_empty() {
            print(&text)?;
        }
    } else {
        terminal::write_stdout(&bytes)?;
    }
    if dropped > 0 {
        // Without standard error there is no way to report this.
        let _ = writeln!(
            std::io::stderr(),
            "kmlog: {dropped} earlier bytes were dropped"
        );
    }
    Ok(())
}

pub(super) fn watch(session: &Session, args: &WatchArgs) -> anyhow::Result<()> {
    let mut watched = Vec::new();
    for number in BTreeSet::from_iter(&args.instances) {
        let instance = session.monitor.instance(*number)?;
        let position = instance.shared.lock().log.seen();
        watched.push(Watched {
            instance,
            position,
            line: Vec::new(),
        });
    }
    let end = args
        .time
        .map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
    while !session.interrupt.is_set() && end.is_none_or(|end| Instant::now() < end) {
        for one in &mut watched {
            one.show_new()?;
        }
        std::thread::sleep(Interrupt::POLL_INTERVAL);
    }
    for one in &mut watched {
        one.show_new()?;
        one.end_line()?;
    }
    Ok(())
}

/// Prints the unseen lines of the kernel of `instance`.
pub(super) fn show_kernel(instance: &Instance) -> anyhow::Result<()> {
    let (from, bytes) = {
        let view = instance.shared.lock();
        let log = &view.kernel_log;
        log.read(log.seen(), usize::MAX)
    };
    if bytes.is_empty() {
        return Ok(());
    }
    // These are whole lines without control characters.
    terminal::write_stdout(&bytes)?;
    let mut view = instance.shared.lock();
    view.kernel_log.mark_seen(from + bytes.len() as u64);
    Ok(())
}

/// One instance whose lines are shown.
struct Watched<'a> {
    instance: &'a Instance,
    position: u64,
    /// The part of a line that has arrived so far.
    line: Vec<u8>,
}

impl Watched<'_> {
    fn show_new(&mut self) -> anyhow::Result<()> {
        let (from, bytes) = {
            let view = self.instance.shared.lock();
            view.log.read(self.position, usize::MAX)
        };
        if from > self.position {
            let missed = from - self.position;
            print(&format!(
                "{}| [{missed} bytes were dropped and are not shown]",
                self.instance.number
            ))?;
        }
        self.position = from + bytes.len() as u64;
        let shown_to = self.position;
        for byte in bytes {
            if byte == b'\n' || self.line.len() == MAX_LINE {
                self.show_line()?;
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
        }
        self.instance.shared.lock().log.mark_seen(shown_to);
        Ok(())
    }

    fn show_line(&mut self) -> anyhow::Result<()> {
        let line = text::without_escapes(&std::mem::take(&mut self.line));
        print(&format!("{}| {line}\n", self.instance.number))
    }

    fn end_line(&mut self) -> anyhow::Result<()> {
        if self.line.is_empty() {
            return Ok(());
        }
        self.show_line()
    }
}
