//! One log of the writing thread: takes output from its source and appends it to the files.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::chain::{Bound, Chain, Title};
use super::compress::{Compressor, Step};
use super::files::Files;
use super::format::{Kind, first_line};
use super::name::LogName;
use super::source::{Extent, Source};
use super::stamp::Stamp;

/// An unfinished line is written after this time.
pub(super) const UNFINISHED: Duration = Duration::from_secs(1);
/// Bytes that are taken from the source at once: it is locked meanwhile.
const CHUNK: usize = 64 * 1024;

/// One log.
pub(super) struct Log {
    name: LogName,
    owner: String,
    source: Arc<dyn Source>,
    chain: Option<Chain>,
    /// The position up to which this KMON has written.
    known: Option<u64>,
    arrivals: Arrivals,
    compressor: Option<Box<Compressor>>,
    /// Files that do not become shorter, or could not be compressed.
    given_up: Vec<u64>,
}

/// What is left of a log after a step.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Something was written.
    pub(super) wrote: bool,
    /// An unfinished line is due after this time.
    pub(super) due_in: Option<Duration>,
}

impl Log {
    pub(super) fn new(name: LogName, owner: String, source: Arc<dyn Source>) -> Self {
        Self {
            name,
            owner,
            source,
            chain: None,
            known: None,
            arrivals: Arrivals::default(),
            compressor: None,
            given_up: Vec::new(),
        }
    }

    /// Notes that all output that is in the source now has arrived.
    pub(super) fn note_arrival(&mut self, now: Stamp) {
        self.arrivals.note(self.source.extent().end, now);
    }

    /// Writes all whole lines that the source has, and unfinished lines that are due, or all if
    /// `force`. Tries once more after an error, for a file that was moved away.
    ///
    /// # Errors
    /// They cannot be written. The next call continues.
    pub(super) fn write(
        &mut self,
        directory: &Path,
        bound: Bound,
        now: Stamp,
        force: bool,
    ) -> io::Result<Left> {
        let written = self.try_write(directory, bound, now, force);
        written.or_else(|_| self.try_write(directory, bound, now, force))
    }

    fn try_write(
        &mut self,
        directory: &Path,
        bound: Bound,
        now: Stamp,
        force: bool,
    ) -> io::Result<Left> {
        let extent = self.source.extent();
        if self.chain.is_none() && extent.end == 0 && extent.dropped == 0 {
            // Nothing was ever printed: no file is needed.
            return Ok(Left::default());
        }
        let mut chain = match self.chain.take() {
            Some(chain) => chain,
            None => {
                // To open the chain removes its part.
                self.compressor = None;
                self.open(directory, bound, extent, now)?
            }
        };
        let before = chain.position();
        let written = self.write_to(&mut chain, extent, now, force);
        let written = written.and_then(|due_in| chain.commit().map(|()| due_in));
        self.known = self.known.max(Some(chain.committed()));
        let wrote = chain.position() != before;
        let due_in = written?;
        self.arrivals.release(chain.position());
        self.chain = Some(chain);
        Ok(Left { wrote, due_in })
    }

    fn open(
        &self,
        directory: &Path,
        bound: Bound,
        extent: Extent,
        now: Stamp,
    ) -> io::Result<Chain> {
        let files = Files::new(directory, &self.name.stem());
        let title = Title {
            owner: self.owner.clone(),
            what: self.name.what(),
            id: self.source.id(),
        };
        // Marks precede lines that may have arrived long ago.
        let first = self.known.unwrap_or(extent.start);
        let time = self.arrivals.time_of(first, now);
        Chain::open(files, bound, title, extent, time, self.known)
    }

    /// Writes lines up to the end of `extent`. Returns when an unfinished line is due.
    fn write_to(
        &self,
        chain: &mut Chain,
        extent: Extent,
        now: Stamp,
        force: bool,
    ) -> io::Result<Option<Duration>> {
        let time = self.arrivals.time_of(chain.position(), now);
        chain.put_dropped(time, extent.dropped)?;
        while chain.position() < extent.end {
            let (from, bytes) = self.source.read(chain.position(), CHUNK);
            if from > chain.position() {
                let time = self.arrivals.time_of(from, now);
                chain.put_missed(time, from - chain.position())?;
            }
            if !put_lines(chain, &bytes, &self.arrivals, now)? {
                continue;
            }
            // Nothing but an unfinished line is left.
            let part = &bytes[usize::try_from(chain.position() - from).unwrap_or(bytes.len())..];
            let time = self.arrivals.time_of(chain.position(), now);
            let age = now.since(time);
            if part.is_empty() {
                return Ok(None);
            }
            if !force && age < UNFINISHED {
                return Ok(Some(UNFINISHED - age));
            }
            chain.put(time, Kind::Part, part, part.len())?;
            return Ok(None);
        }
        Ok(None)
    }

    /// Returns the position up to which the output is written.
    pub(super) fn position(&self) -> u64 {
        self.known.unwrap_or(0)
    }

    /// Compresses a slice of a complete file. Returns false if there is nothing to compress.
    pub(super) fn compress(&mut self) -> bool {
        let Some(chain) = &mut self.chain else {
            return false;
        };
        let compressor = match self.compressor.take() {
            Some(compressor) => Some(compressor),
            None => match Compressor::begin(chain, &self.given_up) {
                Ok(begun) => begun.map(Box::new),
                // There may be no room: after the next change of files it is tried again.
                Err(_) => {
                    self.given_up = chain.complete.iter().map(|one| one.file.number).collect();
                    return false;
                }
            },
        };
        let Some(compressor) = compressor else {
            return false;
        };
        match compressor.step(chain) {
            Ok(Step::Continues(compressor)) => self.compressor = Some(compressor),
            Ok(Step::Done) => {}
            Ok(Step::GaveUp(number)) => self.give_up(number),
            Err(_) => {
                let all = chain.complete.iter().map(|one| one.file.number);
                self.given_up = all.collect();
            }
        }
        true
    }

    fn give_up(&mut self, number: u64) {
        self.given_up.push(number);
        let kept = self.chain.iter().flat_map(|chain| &chain.complete);
        let kept: Vec<_> = kept.map(|one| one.file.number).collect();
        self.given_up.retain(|number| kept.contains(number));
    }
}

/// Appends the lines of `bytes`, which start at the position of `chain`. Returns true if the rest
/// is less than a line, and no more follows in the source than that.
fn put_lines(chain: &mut Chain, bytes: &[u8], arrivals: &Arrivals, now: Stamp) -> io::Result<bool> {
    let mut rest = bytes;
    while let Some((kind, line, len)) = first_line(rest) {
        let time = arrivals.time_of(chain.position(), now);
        chain.put(time, kind, line, len)?;
        rest = &rest[len..];
    }
    // A whole chunk was taken: more may follow.
    Ok(bytes.len() < CHUNK)
}

/// When output arrived.
#[derive(Default)]
struct Arrivals {
    /// The position after the output that had arrived at a time.
    until: VecDeque<(u64, Stamp)>,
}

impl Arrivals {
    /// Arrivals kept. Of more, the oldest are taken to be as new as the next one.
    const MAX: usize = 1024;
    /// Output that arrives within this time has the same time.
    const TOGETHER: Duration = Duration::from_millis(2);

    fn note(&mut self, end: u64, now: Stamp) {
        match self.until.back_mut() {
            Some((until, _)) if *until >= end => return,
            Some((until, time)) if now.since(*time) < Self::TOGETHER => {
                *until = end;
                return;
            }
            _ => self.until.push_back((end, now)),
        }
        if self.until.len() > Self::MAX {
            self.until.pop_front();
        }
    }

    /// Returns when the byte at `position` arrived: `now` if that is not known.
    fn time_of(&self, position: u64, now: Stamp) -> Stamp {
        let known = self.until.iter().find(|(until, _)| *until > position);
        known.map_or(now, |(_, time)| *time)
    }

    /// Forgets what was before `position`.
    fn release(&mut self, position: u64) {
        while self
            .until
            .front()
            .is_some_and(|(until, _)| *until <= position)
        {
            self.until.pop_front();
        }
    }
}
