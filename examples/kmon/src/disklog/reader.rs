//! Reads the lines of a log from its oldest file to its newest, and what is appended meanwhile.
//!
//! A reader and the writer share nothing but the files. A reader that is slower than the bound
//! allows finds files removed, and reports how many bytes it missed.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek};
use std::os::unix::fs::MetadataExt;

use super::files::{Complete, Files};
use super::format::{FileMark, Kind, Line, Mark};
use super::scan;
use super::stamp::Stamp;

/// What a log has at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// A line of output, without its line end.
    Line(Vec<u8>),
    /// Output whose line continues with the next entry.
    Part(Vec<u8>),
    /// Bytes of output that are not in the log.
    Missed(u64),
    /// Bytes of output that the instance dropped, about here. They have no position.
    Dropped(u64),
    /// The output of this owner begins, such as `instance 2 (web)`.
    Begin(String),
}

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) time: Stamp,
    /// Identifies the output whose bytes `position` counts.
    pub(crate) output: u64,
    /// The position of the first byte.
    pub(crate) position: u64,
    /// The position after the last byte.
    pub(crate) end: u64,
    pub(crate) body: Body,
}

impl Entry {
    /// Returns how many bytes of memory its text takes.
    pub(super) fn len(&self) -> usize {
        match &self.body {
            Body::Line(bytes) | Body::Part(bytes) => bytes.len(),
            Body::Missed(_) | Body::Dropped(_) => 0,
            Body::Begin(owner) => owner.len(),
        }
    }
}

/// Reads one log.
pub(super) struct Reader {
    files: Files,
    /// Files in which nothing was changed since are skipped.
    since: Option<Stamp>,
    open: Option<Open>,
    /// The number of the last file that was read to its end.
    done: u64,
    /// The output that is read, and its next byte.
    at: Option<(u64, u64)>,
    text: Vec<u8>,
}

/// A file that is being read.
enum Open {
    Complete(u64, Box<dyn BufRead + Send>),
    /// The newest one; `true` once it was found to be complete.
    Current(u64, BufReader<File>, bool),
}

impl Reader {
    pub(super) fn new(files: Files, since: Option<Stamp>) -> Self {
        Self {
            files,
            since,
            open: None,
            done: 0,
            at: None,
            text: Vec::new(),
        }
    }

    /// Begins again with the oldest file.
    pub(super) fn restart(&mut self) {
        self.open = None;
        self.done = 0;
        self.at = None;
    }

    /// Returns the next entry, or `None` if it was not written yet.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        loop {
            if self.open.is_none() && !self.open_next()? {
                return Ok(None);
            }
            if !self.read_line()? {
                if !self.leave_file()? {
                    return Ok(None);
                }
                continue;
            }
            if let Some(entry) = self.entry() {
                return Ok(Some(entry));
            }
        }
    }

    /// Reads the next whole line into `text`. Returns false if it was not written yet.
    fn read_line(&mut self) -> io::Result<bool> {
        match &mut self.open {
            Some(Open::Complete(_, lines)) => {
                // A compressed file that is damaged ends there.
                let line = scan::next_line(lines, &mut self.text);
                Ok(line.ok().flatten() == Some(true))
            }
            Some(Open::Current(_, lines, _)) => match scan::next_line(lines, &mut self.text)? {
                Some(true) => Ok(true),
                Some(false) => {
                    // Its end is being written.
                    let read = i64::try_from(self.text.len()).unwrap_or(0);
                    lines.seek_relative(-read)?;
                    Ok(false)
                }
                None => Ok(false),
            },
            None => Ok(false),
        }
    }

    /// Leaves a file after its last line. Returns false if it is still appended to.
    fn leave_file(&mut self) -> io::Result<bool> {
        match &mut self.open {
            Some(Open::Current(_, lines, is_complete)) if !*is_complete => {
                let ours = lines.get_ref().metadata()?;
                let there = fs::symlink_metadata(self.files.current());
                // Lines may have been appended before it became complete.
                *is_complete = !there.is_ok_and(|there| there.ino() == ours.ino());
                Ok(*is_complete)
            }
            Some(Open::Current(number, ..) | Open::Complete(number, _)) => {
                self.done = self.done.max(*number);
                self.open = None;
                Ok(true)
            }
            None => Ok(true),
        }
    }

    /// Opens the next file. Returns false if it does not exist yet.
    fn open_next(&mut self) -> io::Result<bool> {
        // Files are renamed and removed meanwhile; each time a later one is found.
        for _ in 0..100 {
            let complete = match self.files.complete() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                found => found?,
            };
            let next = complete.into_iter().find(|file| file.number > self.done);
            let opened = match next {
                Some(file) => self.open_complete(file),
                None => self.open_current(),
            };
            match opened {
                Err(error) if error.kind() == io::ErrorKind::NotFound && next.is_some() => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Ok(false) if next.is_none() => return Ok(false),
                Ok(false) => {}
                opened => return opened,
            }
        }
        Ok(false)
    }

    /// Opens a complete file. Returns false if it is skipped.
    fn open_complete(&mut self, file: Complete) -> io::Result<bool> {
        let path = self.files.path(file);
        if self.since.is_some_and(|since| is_older(&path, since)) {
            self.done = file.number;
            self.at = None;
            return Ok(false);
        }
        let lines = scan::open(&path, file.compressed)?;
        self.open = Some(Open::Complete(file.number, lines));
        Ok(true)
    }

    /// Opens the current file. Returns false if it has no line yet, or is not the next one.
    fn open_current(&mut self) -> io::Result<bool> {
        let mut lines = BufReader::with_capacity(64 * 1024, File::open(self.files.current())?);
        let mut first = Vec::new();
        let is_whole = scan::next_line(&mut lines, &mut first)? == Some(true);
        let mark = Line::parse(&first).filter(|_| is_whole);
        let Some(Mark::File(mark)) = mark.and_then(|line| line.mark()) else {
            return Ok(false);
        };
        if mark.file <= self.done {
            return Ok(false);
        }
        let complete = self.files.complete()?;
        if complete.iter().any(|file| file.number > self.done) {
            // The one that was listed became complete before this was opened.
            return Err(io::ErrorKind::NotFound.into());
        }
        lines.rewind()?;
        self.open = Some(Open::Current(mark.file, lines, false));
        Ok(true)
    }

    /// Returns the entry in `text`; `None` if it has none.
    fn entry(&mut self) -> Option<Entry> {
        let line = Line::parse(&self.text)?;
        let time = line.time;
        if line.kind == Kind::Mark {
            return match line.mark()? {
                Mark::File(mark) => self.begin(time, mark),
                Mark::Missed(count) => self.advance(time, count, Body::Missed(count)),
                Mark::Dropped(count) => self.advance(time, 0, Body::Dropped(count)),
                Mark::ClockSetBack(_) | Mark::Damaged => None,
            };
        }
        let len = line.output_len()?;
        let output = line.output()?;
        let body = match line.kind {
            Kind::Part => Body::Part(output),
            _ => Body::Line(output),
        };
        self.advance(time, len, body)
    }

    fn begin(&mut self, time: Stamp, mark: FileMark) -> Option<Entry> {
        let before = self.at.replace((mark.id, mark.byte));
        let (missed, body) = match before {
            Some((id, at)) if id == mark.id => {
                let missed = mark.byte.checked_sub(at).filter(|&missed| missed > 0)?;
                (missed, Body::Missed(missed))
            }
            _ => (0, Body::Begin(mark.owner)),
        };
        Some(Entry {
            time,
            output: mark.id,
            position: mark.byte - missed,
            end: mark.byte,
            body,
        })
    }

    fn advance(&mut self, time: Stamp, len: u64, body: Body) -> Option<Entry> {
        let (output, position) = self.at?;
        let end = position.saturating_add(len);
        self.at = Some((output, end));
        Some(Entry {
            time,
            output,
            position,
            end,
            body,
        })
    }
}

/// Returns true if nothing was written to the file at `path` since `since`.
fn is_older(path: &std::path::Path, since: Stamp) -> bool {
    let changed = fs::metadata(path).and_then(|file| file.modified());
    // A second more: some file systems round.
    let limit = since.earlier(std::time::Duration::from_secs(1));
    changed.is_ok_and(|changed| Stamp::from_system(changed) < limit)
}
