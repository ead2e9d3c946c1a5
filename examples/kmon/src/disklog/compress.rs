//! Compresses a complete file, a slice at a time, while nothing else is to be written.

use std::fs::{File, FileTimes};
use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::chain::Chain;
use super::disk;

/// Bytes that one step compresses: about 2 ms.
const SLICE: usize = 64 * 1024;

/// A compression that has begun.
pub(super) struct Compressor {
    number: u64,
    from: File,
    to: GzEncoder<Part>,
    len: u64,
}

/// The file of a compression. It ends in an error rather than to become longer than the original.
struct Part {
    file: File,
    room: u64,
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len() as u64;
        self.room = self
            .room
            .checked_sub(len)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        disk::append(&self.file, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The result of a step.
pub(super) enum Step {
    Continues(Box<Compressor>),
    Done,
    /// The file stays as it is.
    GaveUp(u64),
}

impl Compressor {
    /// Begins with the oldest file of `chain` that is not compressed and not one of `given_up`.
    pub(super) fn begin(chain: &Chain, given_up: &[u64]) -> io::Result<Option<Self>> {
        let wanted = chain.complete.iter().find(|one| {
            // A file of an earlier, larger bound has no room for its part.
            let fits = one.len <= chain.bound.size;
            !one.file.compressed && fits && !given_up.contains(&one.file.number)
        });
        let Some(wanted) = wanted.filter(|_| chain.bound.compress) else {
            return Ok(None);
        };
        let number = wanted.file.number;
        let part = chain.files.part(number);
        disk::remove(&part)?;
        let part = Part {
            file: disk::create(&part)?,
            room: wanted.len,
        };
        Ok(Some(Self {
            number,
            from: File::open(chain.path(number, false))?,
            to: GzEncoder::new(part, Compression::default()),
            len: wanted.len,
        }))
    }

    /// Compresses the next slice of the file of `chain`.
    ///
    /// # Errors
    /// A file cannot be written; the next open of the chain removes the part.
    pub(super) fn step(mut self: Box<Self>, chain: &mut Chain) -> io::Result<Step> {
        let is_kept = |chain: &Chain, number| {
            let mut files = chain.complete.iter();
            files.any(|one| one.file.number == number && !one.file.compressed)
        };
        let mut slice = vec![0; SLICE];
        let read = self.from.read(&mut slice)?;
        let written = self.to.write_all(&slice[..read]);
        let too_long = |error: &io::Error| error.kind() == io::ErrorKind::FileTooLarge;
        match written {
            Ok(()) if is_kept(chain, self.number) => {}
            Err(error) if !too_long(&error) => return Err(error),
            _ => return self.give_up(chain),
        }
        if read > 0 {
            return Ok(Step::Continues(self));
        }
        match self.to.try_finish() {
            Ok(()) => self.finish(chain),
            Err(error) if too_long(&error) => self.give_up(chain),
            Err(error) => Err(error),
        }
    }

    fn finish(self, chain: &mut Chain) -> io::Result<Step> {
        let part = self.to.get_ref();
        // The time of the last line, by which readers skip files.
        let time = self.from.metadata()?.modified()?;
        part.file.set_times(FileTimes::new().set_modified(time))?;
        let len = self.len - part.room;
        disk::rename(
            &chain.files.part(self.number),
            &chain.path(self.number, true),
        )?;
        disk::remove(&chain.path(self.number, false))?;
        let mut files = chain.complete.iter_mut();
        if let Some(one) = files.find(|one| one.file.number == self.number) {
            one.file.compressed = true;
            one.len = len;
        }
        Ok(Step::Done)
    }

    fn give_up(self, chain: &Chain) -> io::Result<Step> {
        disk::remove(&chain.files.part(self.number))?;
        Ok(Step::GaveUp(self.number))
    }
}
