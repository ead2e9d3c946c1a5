//! Selects entries of a log: by time, by text, the last ones.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use regex::{Regex, RegexBuilder};

use super::reader::{Body, Entry, Reader};
use super::stamp::Stamp;
use crate::text;

/// Bytes of a line that are compared with a pattern. The rest of a longer line counts as another.
const MAX_JOINED: usize = 64 * 1024;
/// Bytes of the last lines that are returned.
const MAX_TAIL: usize = 16 * 1024 * 1024;

/// Which entries to select.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    /// Not before this time.
    pub(crate) since: Option<Stamp>,
    /// Only lines whose text matches. Parts of a line are joined first.
    pub(crate) pattern: Option<Regex>,
    /// Only the last ones of those that exist at the beginning.
    pub(crate) last: Option<usize>,
    /// Also the output of earlier instances with the same number, with an entry where each begins.
    pub(crate) all_owners: bool,
    /// Only what follows this byte of this output, such as an [`Entry::end`].
    pub(crate) after: Option<(u64, u64)>,
}

impl Query {
    /// Parses a pattern.
    ///
    /// # Errors
    /// One line: what is wrong with it.
    pub(crate) fn parse_pattern(text: &str) -> Result<Regex, String> {
        // A pattern cannot take much memory.
        let pattern = RegexBuilder::new(text).size_limit(1 << 20).build();
        pattern.map_err(|error| {
            let last = error.to_string();
            let last = last.lines().next_back().unwrap_or_default().to_owned();
            format!("not a regular expression ({last})")
        })
    }
}

/// The entries that a query selects, in order.
pub(crate) struct Entries {
    reader: Reader,
    query: Query,
    /// The output that the instance has now; `None` selects any.
    output: Option<u64>,
    /// A line whose end has not been read yet.
    joined: Option<Entry>,
    /// The last entries, until they are returned.
    tail: Option<VecDeque<Entry>>,
    /// The output of `Query::after` was reached. What precedes it is not selected.
    reached: bool,
    stop: Arc<AtomicBool>,
}

impl Entries {
    /// Selects from the log that `reader` reads: only the output `output`, if there is one.
    pub(super) fn new(reader: Reader, query: Query, output: Option<u64>) -> Self {
        Self {
            reader,
            output,
            joined: None,
            tail: None,
            reached: query.after.is_none(),
            stop: Arc::default(),
            query,
        }
    }

    /// Returns a flag that ends a search: once it is set, there are no more entries.
    pub(crate) fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Returns the next entry; `None` if it was not written yet.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        if let Some(count) = self.query.last.take() {
            self.tail = Some(self.read_tail(count)?);
        }
        if let Some(entry) = self.tail.as_mut().and_then(VecDeque::pop_front) {
            return Ok(Some(entry));
        }
        self.next_selected()
    }

    /// Returns the selected part of a line that has no end yet. For a caller that does not wait for
    /// more entries.
    pub(crate) fn finish(&mut self) -> Option<Entry> {
        let joined = self.joined.take()?;
        self.matches(&joined).then_some(joined)
    }

    /// Reads to the end, and returns the last `count` lines, each with all its parts; fewer if they
    /// are too long.
    fn read_tail(&mut self, count: usize) -> io::Result<VecDeque<Entry>> {
        let is_part = |entry: &Entry| matches!(entry.body, Body::Part(_));
        let mut tail = VecDeque::new();
        let (mut lines, mut continues, mut bytes) = (0, false, 0);
        while let Some(entry) = self.next_selected()? {
            lines += usize::from(!continues);
            continues = is_part(&entry);
            bytes += entry.len();
            tail.push_back(entry);
            while lines > count || (bytes > MAX_TAIL && lines > 1) {
                while let Some(first) = tail.pop_front() {
                    bytes -= first.len();
                    if !is_part(&first) {
                        break;
                    }
                }
                lines -= 1;
            }
        }
        Ok(tail)
    }

    fn next_selected(&mut self) -> io::Result<Option<Entry>> {
        while let Some(entry) = self.next_of_any()? {
            if !self.is_wanted(&entry) {
                continue;
            }
            if self.query.pattern.is_none() {
                return Ok(Some(entry));
            }
            if let Some(line) = self.join(entry)
                && self.matches(&line)
            {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    /// Returns the next entry that the log still has after `Query::after`.
    fn next_of_any(&mut self) -> io::Result<Option<Entry>> {
        while !self.stop.load(Ordering::Relaxed) {
            let after = self.query.after.filter(|_| !self.reached);
            match (self.reader.next()?, after) {
                (Some(entry), None) => return Ok(Some(entry)),
                (Some(entry), Some((output, position))) if entry.output == output => {
                    self.reached = true;
                    return Ok(Some(with_gap(entry, position)));
                }
                (Some(_), Some(_)) => {}
                (None, None) => return Ok(None),
                (None, Some(_)) => {
                    // That output was removed, so everything is newer.
                    self.query.after = None;
                    self.reached = true;
                    self.reader.restart();
                }
            }
        }
        Ok(None)
    }

    fn is_wanted(&self, entry: &Entry) -> bool {
        if matches!(entry.body, Body::Begin(_)) && !self.query.all_owners {
            return false;
        }
        let is_owner = self.output.is_none_or(|output| output == entry.output);
        let is_owner = is_owner || self.query.all_owners;
        let is_new = self.query.since.is_none_or(|since| entry.time >= since);
        let is_after = self
            .query
            .after
            .is_none_or(|(output, position)| output != entry.output || entry.end > position);
        is_owner && is_new && is_after
    }

    /// Returns a line once it is whole.
    fn join(&mut self, entry: Entry) -> Option<Entry> {
        let (bytes, is_end) = match entry.body {
            Body::Line(bytes) => (bytes, true),
            Body::Part(bytes) => (bytes, false),
            Body::Missed(_) | Body::Dropped(_) | Body::Begin(_) => return self.joined.take(),
        };
        let mut line = match self.joined.take() {
            Some(mut line) => {
                if let Body::Line(start) = &mut line.body {
                    start.extend_from_slice(&bytes);
                }
                line.end = entry.end;
                line
            }
            None => Entry {
                body: Body::Line(bytes),
                ..entry
            },
        };
        let len = match &mut line.body {
            Body::Line(bytes) => bytes.len(),
            _ => 0,
        };
        if is_end || len >= MAX_JOINED {
            return Some(line);
        }
        self.joined = Some(line);
        None
    }

    fn matches(&self, line: &Entry) -> bool {
        let (Some(pattern), Body::Line(bytes)) = (&self.query.pattern, &line.body) else {
            return false;
        };
        pattern.is_match(&text::without_escapes(bytes))
    }
}

/// Returns the first entry of an output of which `position` was reached before. If it is newer, it
/// reports how much is missing.
fn with_gap(entry: Entry, position: u64) -> Entry {
    match entry.body {
        Body::Begin(_) if entry.position > position => Entry {
            body: Body::Missed(entry.position - position),
            position,
            ..entry
        },
        _ => entry,
    }
}
