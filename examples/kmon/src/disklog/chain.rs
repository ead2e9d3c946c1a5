//! Appends lines to the files of one log, within their bound.
//!
//! - **C1** The current file has at most `size` bytes.
//! - **C2** The log has at most `count` files, and all of them together, the part of a compression
//!   included, at most `size` x `count` bytes. So the oldest file is removed before room is needed.
//! - **C3** Each change leaves files from which [`Chain::open`] finds the position up to which the
//!   output is written, whenever KMON is killed. A line that was cut by that is removed there, and
//!   its output is written again.
//!
//! After an error the state on the disk is unknown: the chain is dropped and opened again.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use super::disk;
use super::files::{Complete, Files};
use super::format::{FileMark, Kind, Mark, put_mark, put_output};
use super::scan::{self, Found};
use super::source::Extent;
use super::stamp::Stamp;

/// A clock that is set back by less is waited for; by more, the times follow it.
const CLOCK_STEP: Duration = Duration::from_secs(5);
/// Lines are written together, up to this many bytes.
const BATCH: usize = 64 * 1024;

/// Bytes of the marks with which a chain is opened, at most.
const MARKS: u64 = 1024;

/// How much of a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// Bytes of a file at most.
    pub(crate) size: u64,
    /// How many files are kept, with the current one.
    pub(crate) count: u64,
    /// Compress complete files.
    pub(crate) compress: bool,
}

/// The output of which a log is.
#[derive(Clone, Debug)]
pub(super) struct Title {
    pub(super) owner: String,
    pub(super) what: &'static str,
    /// Identifies the output whose bytes are counted.
    pub(super) id: u64,
}

/// A complete file, and its length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sized {
    pub(super) file: Complete,
    pub(super) len: u64,
}

/// The files of one log, open to append.
pub(super) struct Chain {
    pub(super) files: Files,
    pub(super) bound: Bound,
    /// The oldest first.
    pub(super) complete: Vec<Sized>,
    title: Title,
    /// The current file, once it has a line.
    current: Option<File>,
    len: u64,
    number: u64,
    /// The next byte of output.
    byte: u64,
    /// The next byte after the lines that are written.
    committed: u64,
    /// Bytes without a position that were noted.
    dropped: u64,
    time: Stamp,
    /// Lines that are not written yet.
    batch: Vec<u8>,
}

impl Chain {
    /// Opens the log of the output `title`, of which `kept` is kept. `known` is the position that
    /// this KMON has already reached, if the files do not tell. `now` is the time of marks.
    ///
    /// # Errors
    /// A file cannot be read, changed or removed.
    pub(super) fn open(
        files: Files,
        bound: Bound,
        title: Title,
        kept: Extent,
        now: Stamp,
        known: Option<u64>,
    ) -> io::Result<Self> {
        disk::create_directory(files.directory())?;
        let mut chain = Self {
            complete: Vec::new(),
            current: None,
            len: 0,
            number: 1,
            byte: kept.start,
            committed: kept.start,
            dropped: kept.dropped,
            time: Stamp::EARLIEST,
            batch: Vec::new(),
            files,
            bound,
            title,
        };
        chain.find_complete()?;
        let found = match chain.open_current()? {
            Some(found) => Some(found),
            None => chain.scan_newest()?,
        };
        chain.resume(found.as_ref(), kept, now, known)?;
        chain.make_room()?;
        Ok(chain)
    }

    /// Takes up the state `found`, and marks in the current file what does not follow from it.
    fn resume(
        &mut self,
        found: Option<&Found>,
        kept: Extent,
        now: Stamp,
        known: Option<u64>,
    ) -> io::Result<()> {
        let id = self.title.id;
        let same = found.map(|found| &found.mark).filter(|mark| mark.id == id);
        let on_disk = same.map(|mark| mark.byte);
        // A position beyond the end is not of this output.
        let position = on_disk.max(known).filter(|&position| position <= kept.end);
        self.byte = position.unwrap_or(kept.start);
        self.committed = self.byte;
        self.dropped = same.map_or(kept.dropped, |mark| mark.dropped);
        self.time = found.map_or(Stamp::EARLIEST, |found| found.time);
        let is_damaged = found.is_some_and(|found| found.damaged);
        if position.is_some() && position == on_disk && !is_damaged {
            return Ok(());
        }
        // A new file begins with a mark.
        if self.current.is_some() && self.len + MARKS > self.bound.size {
            self.complete_current()?;
        }
        if self.current.is_some() && is_damaged {
            self.put_mark(now, &Mark::Damaged)?;
        }
        if self.current.is_some() {
            let mark = self.file_mark();
            self.put_mark(now, &mark)?;
        }
        Ok(())
    }

    /// Returns the position up to which the output is certainly written.
    pub(super) fn committed(&self) -> u64 {
        self.committed
    }

    /// Returns the position of the next byte of output.
    pub(super) fn position(&self) -> u64 {
        self.byte
    }

    /// Finds the complete files, and removes what interrupted compressions left.
    fn find_complete(&mut self) -> io::Result<()> {
        for part in self.files.parts()? {
            disk::remove(&part)?;
        }
        let found = self.files.complete()?;
        for (at, &file) in found.iter().enumerate() {
            let path = self.files.path(file);
            let next = found.get(at + 1);
            if next.is_some_and(|next| next.number == file.number) {
                // Its compression has ended: the next one is the same.
                disk::remove(&path)?;
                continue;
            }
            let len = fs::symlink_metadata(&path)?.len();
            self.complete.push(Sized { file, len });
        }
        let last = self.complete.last().map_or(0, |last| last.file.number);
        self.number = last + 1;
        Ok(())
    }

    /// Opens the current file and repairs its end. A file without a `file` mark is put among the
    /// complete ones.
    fn open_current(&mut self) -> io::Result<Option<Found>> {
        let path = self.files.current();
        let file = match disk::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let len = file.metadata()?.len();
        match scan::scan(BufReader::with_capacity(BATCH, &file))? {
            Some(found) => {
                if found.len < len {
                    disk::cut(&file, found.len)?;
                }
                self.len = found.len;
                self.current = Some(file);
                if found.mark.file < self.number {
                    // Somebody put an old file here, which readers would skip.
                    self.complete_current()?;
                } else {
                    self.number = found.mark.file;
                }
                Ok(Some(found))
            }
            None if len == 0 => {
                disk::remove(&path)?;
                Ok(None)
            }
            None => {
                self.len = len;
                self.current = Some(file);
                self.complete_current()?;
                Ok(None)
            }
        }
    }

    /// Returns the state after the newest complete file that tells.
    fn scan_newest(&self) -> io::Result<Option<Found>> {
        for Sized { file, .. } in self.complete.iter().rev() {
            let lines = scan::open(&self.files.path(*file), file.compressed)?;
            // A damaged compressed file ends in an error.
            if let Ok(Some(found)) = scan::scan(lines) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Appends a line of output: `line` without its end, and `len` bytes with it.
    ///
    /// # Errors
    /// A file cannot be written; the chain cannot be used any more.
    pub(super) fn put(
        &mut self,
        time: Stamp,
        kind: Kind,
        line: &[u8],
        len: usize,
    ) -> io::Result<()> {
        let time = self.next_time(time)?;
        let mut text = Vec::with_capacity(line.len() + 64);
        put_output(&mut text, time, kind, line);
        self.put_text(&text)?;
        self.advance(len as u64);
        Ok(())
    }

    fn advance(&mut self, count: u64) {
        self.byte += count;
        if self.batch.is_empty() {
            self.committed = self.byte;
        }
    }

    /// Notes that `count` bytes of output are missing here.
    pub(super) fn put_missed(&mut self, time: Stamp, count: u64) -> io::Result<()> {
        self.put_mark(time, &Mark::Missed(count))?;
        self.advance(count);
        Ok(())
    }

    /// Notes that the instance has dropped `total` bytes until now, unless that is noted already.
    pub(super) fn put_dropped(&mut self, time: Stamp, total: u64) -> io::Result<()> {
        if let Some(count) = total.checked_sub(self.dropped).filter(|&count| count > 0) {
            self.put_mark(time, &Mark::Dropped(count))?;
            self.dropped = total;
        }
        Ok(())
    }

    fn put_mark(&mut self, time: Stamp, mark: &Mark) -> io::Result<()> {
        let time = self.next_time(time)?;
        let mut text = Vec::new();
        put_mark(&mut text, time, mark);
        self.put_text(&text)
    }

    /// Returns the time of a line at `time`: not before that of the last line, unless the clock was
    /// set back.
    fn next_time(&mut self, time: Stamp) -> io::Result<Stamp> {
        let back = self.time.since(time);
        if back > CLOCK_STEP {
            self.time = time;
            let mark = Mark::ClockSetBack(back.as_secs());
            let mut text = Vec::new();
            put_mark(&mut text, time, &mark);
            self.put_text(&text)?;
        }
        self.time = self.time.max(time);
        Ok(self.time)
    }

    /// Adds whole lines to the batch, after a change of files if they have no room (C1).
    fn put_text(&mut self, text: &[u8]) -> io::Result<()> {
        let after = self.len + (self.batch.len() + text.len()) as u64;
        if self.current.is_some() && after > self.bound.size {
            self.commit()?;
            self.complete_current()?;
        }
        if self.current.is_none() {
            self.make_room()?;
            self.current = Some(disk::create(&self.files.current())?);
            let mark = self.file_mark();
            put_mark(&mut self.batch, self.time, &mark);
        }
        self.batch.extend_from_slice(text);
        if self.batch.len() >= BATCH {
            self.commit()?;
        }
        Ok(())
    }

    /// Writes the lines of the batch.
    ///
    /// # Errors
    /// They cannot be written, or the current file was moved or removed.
    pub(super) fn commit(&mut self) -> io::Result<()> {
        let Some(current) = self.current.as_ref().filter(|_| !self.batch.is_empty()) else {
            return Ok(());
        };
        let ours = current.metadata()?;
        let there = fs::symlink_metadata(self.files.current());
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
            disk::append(current, &self.batch)?;
            self.len += self.batch.len() as u64;
            self.batch.clear();
            self.committed = self.byte;
            return Ok(());
        }
        Err(io::Error::other("the file was moved or removed"))
    }

    /// Puts the current file among the complete ones.
    fn complete_current(&mut self) -> io::Result<()> {
        let file = Complete {
            number: self.number,
            compressed: false,
        };
        disk::rename(&self.files.current(), &self.files.path(file))?;
        self.complete.push(Sized {
            file,
            len: self.len,
        });
        self.current = None;
        self.len = 0;
        self.number += 1;
        Ok(())
    }

    /// Removes the oldest files until there is room for a whole current file, and for a whole part
    /// if files are compressed (C2).
    fn make_room(&mut self) -> io::Result<()> {
        let Bound {
            size,
            count,
            compress,
        } = self.bound;
        let reserved = if compress { 2 * size } else { size };
        // A current file of an earlier, larger bound.
        let reserved = reserved.max(self.len);
        loop {
            let kept: u64 = self.complete.iter().map(|file| file.len).sum();
            let fits = kept + reserved <= size * count;
            if fits && (self.complete.len() as u64) < count || self.complete.is_empty() {
                return Ok(());
            }
            disk::remove(&self.files.path(self.complete[0].file))?;
            self.complete.remove(0);
        }
    }

    fn file_mark(&self) -> Mark {
        Mark::File(FileMark {
            file: self.number,
            owner: self.title.owner.clone(),
            what: self.title.what.into(),
            id: self.title.id,
            byte: self.byte,
            dropped: self.dropped,
        })
    }

    pub(super) fn path(&self, number: u64, compressed: bool) -> PathBuf {
        self.files.path(Complete { number, compressed })
    }
}
