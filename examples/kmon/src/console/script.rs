//! A console fed from a script: each line is sent when the instance waits for input.

use std::time::{Duration, Instant};

use anyhow::bail;

use super::link::{Incoming, Link, Wanted, greeting};
use crate::api::console::{FromClient, FromServer};
use crate::client::Client;
use crate::script::{Front, Reported, print_error};
use crate::{terminal, text};

/// After this time without output, a line's command is presumed to have printed all.
const QUIET: Duration = Duration::from_millis(150);
/// How long one wait for a message lasts.
const WAIT: Duration = Duration::from_millis(20);

/// Sends the script's lines to an instance until `kmexitconsole` or the script's end. Waits up to
/// `settle` for each line's command to end.
pub(crate) fn run(
    client: &Client,
    wanted: &Wanted,
    front: &mut Front,
    settle: Duration,
) -> anyhow::Result<()> {
    let mut console = ScriptConsole {
        client,
        number: wanted.number,
        link: Link::open(client, wanted)?,
        is_inside_line: false,
        query: Query::None,
        settle,
    };
    let done = console.feed(front);
    console.link.socket.close();
    done
}

struct ScriptConsole<'a> {
    client: &'a Client,
    number: u8,
    link: Link,
    /// The last byte that was shown is not the end of a line.
    is_inside_line: bool,
    query: Query,
    settle: Duration,
}

/// Whether the instance was asked if it is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Query {
    None,
    Sent,
    /// There was output after it was sent: its answer means nothing.
    Outdated,
}

impl ScriptConsole<'_> {
    fn feed(&mut self, front: &mut Front) -> anyhow::Result<()> {
        terminal::write_stdout((greeting(self.number) + "\n").as_bytes())?;
        let mut in_time = self.wait_and_report(None)?;
        while let Some(line) = front.next_line() {
            let line = line?;
            if line.trim() == "kmexitconsole" {
                break;
            }
            self.link.type_bytes(format!("{line}\r").as_bytes());
            in_time &= self.wait_and_report(Some(&line))?;
        }
        if self.is_inside_line {
            terminal::write_stdout(b"\n")?;
        }
        if !in_time {
            bail!(Reported);
        }
        Ok(())
    }

    /// Shows output until the instance waits for input again. Reports a time-out and returns false.
    fn wait_and_report(&mut self, line: Option<&str>) -> anyhow::Result<bool> {
        if self.wait_idle()? {
            return Ok(true);
        }
        let what = match line {
            Some(line) => format!("`{}` has not ended", text::brief(line)),
            None => "its shell is not waiting for a command".into(),
        };
        print_error(&format!(
            "kmconsole: instance {}: {what} after {} s; --settle SECONDS waits longer",
            self.number,
            self.settle.as_secs_f64()
        ));
        Ok(false)
    }

    /// Shows output until the instance waits for input again. Returns false if it does not within
    /// the time.
    fn wait_idle(&mut self) -> anyhow::Result<bool> {
        let deadline = Instant::now() + self.settle;
        let mut quiet_since = Instant::now();
        // An earlier answer was for an earlier line.
        self.outdate_query();
        loop {
            match self.link.receive(WAIT)? {
                Incoming::Output(bytes, position) => {
                    self.show(&bytes, position)?;
                    quiet_since = Instant::now();
                    self.outdate_query();
                }
                Incoming::Message(FromServer::Idle(is_idle)) => {
                    let query = std::mem::replace(&mut self.query, Query::None);
                    if is_idle && query == Query::Sent {
                        return Ok(true);
                    }
                }
                Incoming::Message(message) => self.check(message)?,
                Incoming::Closed => bail!("the connection to the server broke"),
                Incoming::Nothing => {}
            }
            if self.client.interrupt().is_set() {
                return Ok(true);
            }
            if Instant::now() > deadline {
                return Ok(false);
            }
            // Asked only after a pause: a shell that has read its line, but has not started a
            // program yet, would answer that it is idle.
            if self.query == Query::None && quiet_since.elapsed() >= QUIET {
                self.link.send(&FromClient::Idle(true));
                self.query = Query::Sent;
            }
        }
    }

    fn outdate_query(&mut self) {
        if self.query == Query::Sent {
            self.query = Query::Outdated;
        }
    }

    fn show(&mut self, bytes: &[u8], position: Option<u64>) -> anyhow::Result<()> {
        if let Some(&last) = bytes.last() {
            self.is_inside_line = last != b'\n';
        }
        // Bytes without a position restore a terminal.
        if let Some(position) = position {
            terminal::write_stdout(bytes)?;
            self.link.send(&FromClient::Shown(position));
        }
        Ok(())
    }

    /// Returns an error if the lines cannot reach the shell that they are for.
    fn check(&self, message: FromServer) -> anyhow::Result<()> {
        let n = self.number;
        match message {
            FromServer::Restarted(_) => {
                bail!("guestd of instance {n} was restarted and has a new shell")
            }
            FromServer::Refused(_) => {
                bail!("instance {n} does not accept input; the line was not sent")
            }
            FromServer::TakenBy(holder) => {
                let (user, pid) = (holder.user, holder.pid);
                bail!("{user} (process {pid}) has taken the console; the line was not sent")
            }
            FromServer::Ended(end) => {
                let state = match end.detail {
                    Some(detail) => format!("{}: {detail}", end.state),
                    None => end.state,
                };
                bail!("instance {n} is not running ({state}); kmreset {n} starts it again")
            }
            FromServer::Error(fault) => Err(fault.into()),
            _ => Ok(()),
        }
    }
}
