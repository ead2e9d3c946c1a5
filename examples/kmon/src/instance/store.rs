//! The file an output log is kept in, mapped: what is stored is there for the
//! next KMON, however this one ends.
//!
//! | offset   | bytes                    | what it has                       |
//! |----------|--------------------------|-----------------------------------|
//! | 0        | [`CIRCLE`]               | the [`Marks`], a snapshot         |
//! | `CIRCLE` | the rest                 | byte `p` of the output at `p` modulo that length |
//!
//! - **F1** Marks are replaced as a whole: a KMON that is killed at it leaves the
//!   ones before (`shmem_core::snapshot`, S3).
//! - **F2** A byte that the stored marks count as kept is not overwritten before
//!   other marks are stored.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use shmem_core::snapshot::{Reader, Writer};
use shmem_core::{Mapping, Window};

/// Where the circle of output begins.
pub(super) const CIRCLE: usize = 4096;
/// Room behind the capacity: for output that a console is to be shown although
/// it is slow, and for what is being appended.
const SLACK: usize = 256 * 1024;
const MAGIC: u64 = u64::from_le_bytes(*b"kmonlog1");

/// What a log knows beside the bytes. Positions count every byte of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Bytes kept, but for what a console is still to be shown.
    pub(super) capacity: u64,
    /// The oldest byte kept.
    pub(super) start: u64,
    /// Behind the newest byte.
    pub(super) end: u64,
    /// Behind the last byte that an operator has seen.
    pub(super) seen: u64,
    /// Behind the newest line's end.
    pub(super) line_start: u64,
    /// Bytes that left before an operator saw them.
    pub(super) lost: u64,
    /// Bytes that earlier incarnations of guestd dropped, and the present one.
    pub(super) dropped_before: u64,
    pub(super) dropped: u64,
    /// Commands that were discarded at a restart.
    pub(super) discarded: u64,
    /// The incarnation of guestd that the newest output is from; 0 before the first.
    pub(super) incarnation: u32,
    /// The terminal modes at `seen`.
    pub(super) modes: u32,
    /// Position in the result ring of the record handled last.
    pub(super) handled: Option<u32>,
}

impl Marks {
    const WORDS: usize = 12;

    fn encode(&self) -> [u8; Self::WORDS * 8] {
        let handled = self.handled.map_or(0, |at| 1 << 32 | u64::from(at));
        let words = [
            MAGIC,
            self.capacity,
            self.start,
            self.end,
            self.seen,
            self.line_start,
            self.lost,
            self.dropped_before,
            self.dropped,
            self.discarded,
            u64::from(self.modes) << 32 | u64::from(self.incarnation),
            handled,
        ];
        let mut bytes = [0; Self::WORDS * 8];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Nothing, unless a KMON could have written it over a circle of `size` bytes.
    fn decode(bytes: &[u8; Self::WORDS * 8], size: u64) -> Option<Self> {
        let mut words = [0; Self::WORDS];
        for (to, word) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *to = u64::from_le_bytes(word.try_into().ok()?);
        }
        let [
            magic,
            capacity,
            start,
            end,
            seen,
            line_start,
            lost,
            dropped_before,
            dropped,
            discarded,
            modes_and_incarnation,
            handled,
        ] = words;
        let marks = Self {
            capacity,
            start,
            end,
            seen,
            line_start,
            lost,
            dropped_before,
            dropped,
            discarded,
            incarnation: modes_and_incarnation as u32,
            modes: (modes_and_incarnation >> 32) as u32,
            handled: (handled >> 32 == 1).then_some(handled as u32),
        };
        let ordered = start <= seen && seen <= end && line_start <= end;
        let fits = capacity <= size && end.checked_sub(start)? <= size;
        (magic == MAGIC && ordered && fits).then_some(marks)
    }
}

/// The mapped file.
pub(super) struct Store {
    circle: Window<'static>,
    marks: Writer<'static>,
}

impl Store {
    /// The store in `file`, which is made for `capacity` bytes if there is none
    /// that can be used.
    ///
    /// # Errors
    ///
    /// There is no room for it, or no right to it.
    pub(super) fn open(file: &Path, capacity: usize) -> anyhow::Result<(Self, Marks)> {
        let shown = || format!("{}", file.display());
        if let Ok(mapping) = Mapping::file(file, None)
            && let Some(found) = Self::over(leaked(mapping))
        {
            return Ok(found);
        }
        let mapping = make(file, CIRCLE + capacity + SLACK).with_context(shown)?;
        let made = Self::format(leaked(mapping), capacity);
        made.with_context(shown)
    }

    /// The store that is in `memory`, if one is.
    pub(super) fn over(memory: Window<'static>) -> Option<(Self, Marks)> {
        let store = Self::parts(memory)?;
        let mut bytes = [0; Marks::WORDS * 8];
        let reader = Reader::attach(memory.sub(0, CIRCLE).ok()?).ok()?;
        let len = reader.read(&mut bytes).ok()?;
        let marks = Marks::decode(&bytes, store.size()).filter(|_| len == bytes.len())?;
        Some((store, marks))
    }

    /// Makes `memory` an empty store.
    pub(super) fn format(
        memory: Window<'static>,
        capacity: usize,
    ) -> anyhow::Result<(Self, Marks)> {
        let mut store = Self::parts(memory).context("too short")?;
        let marks = Marks {
            capacity: capacity as u64,
            ..Marks::default()
        };
        store.save(&marks);
        Ok((store, marks))
    }

    fn parts(memory: Window<'static>) -> Option<Self> {
        let len = memory.len().checked_sub(CIRCLE).filter(|&len| len > 0)?;
        Some(Self {
            circle: memory.sub(CIRCLE, len).ok()?,
            marks: Writer::attach(memory.sub(0, CIRCLE).ok()?).ok()?,
        })
    }

    /// Bytes of output that there is room for.
    pub(super) fn size(&self) -> u64 {
        self.circle.len() as u64
    }

    /// Stores `marks` in the place of the ones before.
    pub(super) fn save(&mut self, marks: &Marks) {
        let saved = self.marks.write(&marks.encode());
        saved.expect("marks are shorter than their place");
    }

    /// Stores output from `position` on; of more than there is room for, the last.
    pub(super) fn put(&self, position: u64, output: &[u8]) {
        let size = self.circle.len();
        let skip = output.len().saturating_sub(size);
        let at = self.offset(position + skip as u64);
        let output = &output[skip..];
        let (front, wrapped) = output.split_at(output.len().min(size - at));
        self.circle.write(at, front);
        self.circle.write(0, wrapped);
    }

    /// Reads output from `position` on.
    pub(super) fn get(&self, position: u64, output: &mut [u8]) {
        let at = self.offset(position);
        let len = output.len().min(self.circle.len() - at);
        let (front, wrapped) = output.split_at_mut(len);
        self.circle.read(at, front);
        self.circle.read(0, wrapped);
    }

    fn offset(&self, position: u64) -> usize {
        // Less than the circle's length.
        (position % self.size()) as usize
    }
}

/// An instance's log is there as long as KMON is.
fn leaked(mapping: Mapping) -> Window<'static> {
    Box::leak(Box::new(mapping)).window()
}

/// A new file of `len` bytes, all of which the disk has: a mapping of a file
/// that cannot grow any more would end KMON.
fn make(file: &Path, len: usize) -> anyhow::Result<Mapping> {
    let fresh = file.with_extension("fresh");
    let mut open = OpenOptions::new();
    open.read(true).write(true).create(true).truncate(true);
    let made = open.mode(0o600).open(&fresh)?;
    reserve(&made, len).inspect_err(|_| {
        let _ = fs::remove_file(&fresh);
    })?;
    fs::rename(&fresh, file)?;
    Ok(Mapping::from_fd(made.into())?)
}

fn reserve(mut file: &File, len: usize) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, len as u64) {
        Err(Errno::OPNOTSUPP) => {
            let zeros = [0; 64 * 1024];
            let mut left = len;
            while left > 0 {
                let part = left.min(zeros.len());
                file.write_all(&zeros[..part])?;
                left -= part;
            }
            Ok(())
        }
        done => Ok(done?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shmem_core::mem::Heap;

    #[test]
    fn marks_come_back_from_the_file_and_other_files_are_replaced() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("2.log");
        for junk in [&b""[..], b"short", &[0xff; 9000]] {
            fs::write(&file, junk).unwrap();
            let (mut store, mut marks) = Store::open(&file, 100_000).unwrap();
            assert_eq!((marks.capacity, marks.end), (100_000, 0));
            store.put(0, b"hello");
            marks.end = 5;
            marks.incarnation = 7;
            marks.modes = 9;
            marks.handled = Some(u32::MAX);
            store.save(&marks);
            // Another KMON wants another length; the file has its own.
            let (again, found) = Store::open(&file, 500_000).unwrap();
            assert_eq!(found, marks);
            let mut bytes = [0; 5];
            again.get(0, &mut bytes);
            assert_eq!(&bytes, b"hello");
        }
    }

    #[test]
    fn marks_that_cannot_be_are_none() {
        let (size, good) = (64, Marks::default());
        let decoded = |marks: &Marks| Marks::decode(&marks.encode(), size);
        assert_eq!(decoded(&good), Some(good));
        let all = Marks {
            start: 1,
            end: 65,
            seen: 65,
            ..good
        };
        assert_eq!(decoded(&all), Some(all));
        for bad in [
            Marks { end: 65, ..good },
            Marks { start: 1, ..good },
            Marks { seen: 1, ..good },
            Marks {
                line_start: 1,
                ..good
            },
            Marks {
                capacity: 65,
                ..good
            },
        ] {
            assert_eq!(decoded(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn output_wraps_and_of_too_much_the_end_is_kept() {
        let memory = Box::leak(Box::new(Heap::new(CIRCLE + 16))).window();
        let (store, _) = Store::format(memory, 8).unwrap();
        store.put(10, b"abcdefghij");
        let mut bytes = [0; 10];
        store.get(10, &mut bytes);
        assert_eq!(&bytes, b"abcdefghij");
        store.put(3, b"0123456789abcdefXYZ");
        let mut bytes = [0; 16];
        store.get(6, &mut bytes);
        assert_eq!(&bytes, b"3456789abcdefXYZ");
    }
}
