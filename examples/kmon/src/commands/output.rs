//! `kmlog`, `kmwatch`: print the output of instances.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::bail;

use super::arguments::{LogArgs, Logs, WatchArgs};
use super::disklog;
use super::print::print;
use super::selection::Target;
use super::session::Session;
use super::several::each;
use crate::api::Done;
use crate::api::console::{FromClient, FromServer, Mode, Open, Start};
use crate::api::instances::Seen;
use crate::client::{Received, Socket};
use crate::interrupt::Interrupt;
use crate::{terminal, text};

/// A longer line is cut, so that an instance cannot fill KMON's memory with one line.
const MAX_LINE: usize = 16 * 1024;

pub(super) fn log(session: &Session, args: &LogArgs) -> anyhow::Result<()> {
    let Logs::Instances(instances) = &args.instances else {
        return disklog::of_kmon(session, args);
    };
    let targets = session.choose(std::slice::from_ref(instances), |_| true)?;
    if args.disk.is_selected() {
        return disklog::of_instances(session, args, &targets);
    }
    each(&targets, 1, |target| print_unseen(session, args, target))
}

fn print_unseen(session: &Session, args: &LogArgs, target: &Target) -> anyhow::Result<()> {
    let n = target.number;
    let query = format!("all={}&kernel={}", args.all, args.kernel);
    let mut part = session.client.log(n, &query)?;
    let dropped = part.dropped;
    let mut bytes = Vec::new();
    while !part.bytes.is_empty() {
        bytes.append(&mut part.bytes);
        let query = format!("from={}&kernel={}", part.next, args.kernel);
        part = session.client.log(n, &query)?;
    }
    let is_labelled = target.label.is_some();
    if is_labelled || std::io::stdout().is_terminal() {
        let text = text::without_escapes(&bytes);
        match is_labelled {
            true => text
                .lines()
                .try_for_each(|line| print(&format!("{n}| {line}")))?,
            false if text.is_empty() => {}
            false => print(&text)?,
        }
    } else {
        terminal::write_stdout(&bytes)?;
    }
    if dropped > 0 {
        let label = target.label.as_deref().unwrap_or("kmlog");
        // Without standard error there is no way to report this.
        let _ = writeln!(
            std::io::stderr(),
            "{label}: {dropped} earlier bytes were dropped"
        );
    }
    Ok(())
}

/// Prints the unseen lines of the kernel of instance `number`.
pub(super) fn show_kernel(session: &Session, number: u8) -> anyhow::Result<()> {
    let part = session.client.log(number, "kernel=true")?;
    if part.bytes.is_empty() {
        return Ok(());
    }
    // These are whole lines without control characters.
    terminal::write_stdout(&part.bytes)?;
    let seen = Seen {
        position: part.next,
        kernel: true,
    };
    let path = format!("/v1/instances/{number}/seen");
    let _: Done = session.client.post(&path, &seen)?;
    Ok(())
}

pub(super) fn watch(session: &Session, args: &WatchArgs) -> anyhow::Result<()> {
    let end = args
        .time
        .map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
    let mut watched = Vec::new();
    for target in session.choose(&args.instances, |_| true)? {
        watched.push(Watched::open(session, target.number)?);
    }
    let is_over = || session.interrupt.is_set() || end.is_some_and(|end| Instant::now() >= end);
    let shown = std::thread::scope(|scope| {
        let threads = watched
            .iter_mut()
            .map(|one| scope.spawn(|| one.show_until(is_over)));
        let threads: Vec<_> = threads.collect();
        let results = threads.into_iter().map(|thread| match thread.join() {
            Ok(shown) => shown,
            // The panic hook has reported it.
            Err(_) => Ok(()),
        });
        results.collect::<Vec<_>>()
    });
    shown.into_iter().collect::<Result<(), _>>()?;
    for one in watched {
        one.end()?;
    }
    Ok(())
}

/// One instance whose lines are shown.
struct Watched {
    number: u8,
    socket: Socket,
    position: Option<u64>,
    /// The part of a line that has arrived so far.
    line: Vec<u8>,
}

impl Watched {
    fn open(session: &Session, number: u8) -> anyhow::Result<Self> {
        let path = format!("/v1/instances/{number}/console");
        let mut socket = Socket::open(&session.client, &path)?;
        socket.send(&Open {
            mode: Mode::View,
            force: false,
            rows: None,
            columns: None,
            from: Start::Seen,
        })?;
        Ok(Self {
            number,
            socket,
            position: None,
            line: Vec::new(),
        })
    }

    /// Shows lines until `is_over`, and what has arrived until then.
    fn show_until(&mut self, is_over: impl Fn() -> bool) -> anyhow::Result<()> {
        let mut has_ended = false;
        loop {
            let was_over = is_over();
            if has_ended {
                if was_over {
                    return Ok(());
                }
                std::thread::sleep(Interrupt::POLL_INTERVAL);
                continue;
            }
            match self.socket.receive(Interrupt::POLL_INTERVAL)? {
                Received::Bytes(bytes) => self.show(&bytes)?,
                Received::Value(FromServer::At(position)) => self.position = Some(position),
                Received::Value(FromServer::Missed(missed)) => {
                    self.position = None;
                    let n = self.number;
                    print(&format!(
                        "{n}| [{missed} bytes were dropped and are not shown]"
                    ))?;
                }
                Received::Value(FromServer::Error(fault)) => return Err(fault.into()),
                Received::Value(FromServer::Ended(_)) => has_ended = true,
                Received::Value(_) => {}
                Received::Nothing if was_over => return Ok(()),
                Received::Nothing => {}
                Received::Closed => bail!("the connection to the server broke"),
            }
        }
    }

    fn show(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        // Bytes without a position restore a terminal.
        let Some(position) = &mut self.position else {
            return Ok(());
        };
        *position += bytes.len() as u64;
        let shown = FromClient::Shown(*position);
        for &byte in bytes {
            if byte == b'\n' || self.line.len() == MAX_LINE {
                self.show_line()?;
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
        }
        self.socket.send(&shown)
    }

    fn show_line(&mut self) -> anyhow::Result<()> {
        let line = text::without_escapes(&std::mem::take(&mut self.line));
        print(&format!("{}| {line}\n", self.number))
    }

    fn end(mut self) -> anyhow::Result<()> {
        if !self.line.is_empty() {
            self.show_line()?;
        }
        self.socket.close();
        Ok(())
    }
}
