//! Reads the lines of a log on disk from the server, and from the next one if it dies.

use std::collections::VecDeque;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::api::lines::{Line, LinesQuery};
use crate::client::{Client, Lines, Next, patience};
use crate::disklog::Stamp;

/// The pause before the next server is looked for again.
const RETRY: Duration = Duration::from_millis(100);
/// Lines without bytes that are recognized with the next server.
const MAX_SEEN: usize = 1000;

/// The lines that a query selects, each once.
pub(super) struct Reading<'a> {
    client: &'a Client,
    path: String,
    query: LinesQuery,
    lines: Lines,
    begun: Stamp,
    /// The last line that has bytes, and those without bytes after it.
    seen: Vec<Line>,
    /// What the next server sends again.
    again: VecDeque<Line>,
}

impl<'a> Reading<'a> {
    /// Begins to read.
    ///
    /// # Errors
    /// The server refuses it, or no server runs.
    pub(super) fn open(client: &'a Client, path: &str, query: LinesQuery) -> anyhow::Result<Self> {
        let begun = Stamp::now();
        Ok(Self {
            client,
            path: path.to_owned(),
            lines: open(client, path, &query)?,
            query,
            begun,
            seen: Vec::new(),
            again: VecDeque::new(),
        })
    }

    /// Returns false if the newest output was not in the log at the beginning.
    pub(super) fn is_written(&self) -> bool {
        self.lines.is_written
    }

    /// Returns true if the next line has arrived.
    pub(super) fn has_next(&self) -> bool {
        self.lines.has_next()
    }

    /// Waits for the next line. Returns `None` at the end, or at `^C`.
    ///
    /// # Errors
    /// The log cannot be read, or there is no other server.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Line>> {
        loop {
            match self.lines.next(self.client.interrupt())? {
                Next::Line(line) if self.was_seen(&line) => {}
                Next::Line(line) => {
                    self.note(&line);
                    return Ok(Some(line));
                }
                Next::Interrupted => return Ok(None),
                Next::End if !self.query.follow => return Ok(None),
                Next::End | Next::Broken => {
                    if !self.reconnect()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn note(&mut self, line: &Line) {
        if line.end > line.position {
            self.seen.clear();
        }
        if self.seen.len() < MAX_SEEN {
            self.seen.push(line.clone());
        }
    }

    /// Returns true if the next server has sent a line again.
    fn was_seen(&mut self, line: &Line) -> bool {
        if self.again.front() == Some(line) {
            self.again.pop_front();
            return true;
        }
        self.again.clear();
        false
    }

    /// Continues with the next server. Returns false at `^C`.
    ///
    /// # Errors
    /// No other server runs.
    fn reconnect(&mut self) -> anyhow::Result<bool> {
        let begun = Instant::now();
        self.continue_after_seen();
        loop {
            let error = match open(self.client, &self.path, &self.query) {
                Ok(lines) => {
                    self.lines = lines;
                    self.report();
                    return Ok(true);
                }
                Err(error) => error,
            };
            if self.client.interrupt().is_set() {
                return Ok(false);
            }
            if begun.elapsed() >= patience(&error) {
                return Err(error);
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Changes the query to the lines from the last one that was returned on.
    fn continue_after_seen(&mut self) {
        self.query.since = match self.seen.first() {
            Some(line) => {
                self.query.after = Some(format!("{}:{}", line.output, line.position));
                None
            }
            // The last lines were none.
            None if self.query.last.is_some() => Some(self.begun.to_string()),
            None => self.query.since.take(),
        };
        self.query.last = None;
        self.again = self.seen.iter().cloned().collect();
    }

    /// Says that another server continues, unless someone else does.
    fn report(&self) {
        if !self.client.revives() {
            // Without standard error there is no way to report this.
            let _ = writeln!(
                std::io::stderr(),
                "kmon: the server had ended; continuing with another one"
            );
        }
    }
}

fn open(client: &Client, path: &str, query: &LinesQuery) -> anyhow::Result<Lines> {
    client.lines(&format!("{path}?{}", serde_urlencoded::to_string(query)?))
}
