//! The mapped file of an output log: stored data is available to the next KMON, however this one
//! ends.
//!
//! | offset   | bytes                    | content                           |
//! |----------|--------------------------|-----------------------------------|
//! | 0        | [`HEADER`]               | the [`Marks`], a snapshot         |
//! | `HEADER` | the rest                 | byte `p` of the output at `p` modulo that length |
//!
//! - **F1** Marks are replaced as a whole: a KMON that is killed meanwhile leaves the earlier ones
//!   (`shmem_core::snapshot`, S3).
//! - **F2** A byte that the stored marks count as kept is overwritten only after other marks are
//!   stored.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use shmem_core::snapshot::{Reader, Writer};
use shmem_core::{Mapping, Window};

use crate::disklog::new_id;

/// Bytes before the output, which is circular.
pub(super) const HEADER: usize = 4096;
/// Room beyond the capacity: for output that a slow console has not shown yet, and for output that
/// is being appended.
const SLACK: usize = 256 * 1024;
const MAGIC: u64 = u64::from_le_bytes(*b"kmonlog2");

/// The state of a log, apart from the output. Positions count every byte of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Identifies this output: its positions are valid in no other one.
    pub(super) id: u64,
    /// Bytes kept, apart from output that a console has not shown yet.
    pub(super) capacity: u64,
    /// The oldest byte kept.
    pub(super) start: u64,
    /// After the newest byte.
    pub(super) end: u64,
    /// After the last byte that an operator has seen.
    pub(super) seen: u64,
    /// After the end of the newest whole line.
    pub(super) line_start: u64,
    /// Bytes that were overwritten before an operator saw them.
    pub(super) lost: u64,
    /// Bytes that earlier incarnations of guestd dropped, and those of the current one.
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
    const WORDS: usize = 13;

    fn encode(&self) -> [u8; Self::WORDS * 8] {
        let handled = self.handled.map_or(0, |at| 1 << 32 | u64::from(at));
        let words = [
            MAGIC,
            self.id,
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

    /// Decodes marks; `None` unless a KMON could have written them for `size` bytes of output.
    fn decode(bytes: &[u8; Self::WORDS * 8], size: u64) -> Option<Self> {
        let mut words = [0; Self::WORDS];
        for (to, word) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *to = u64::from_le_bytes(word.try_into().ok()?);
        }
        let [
            magic,
            id,
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
            id,
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
    output: Window<'static>,
    marks: Writer<'static>,
}

impl Store {
    /// Opens the store in `file`, or creates one for `capacity` bytes if the file is not a valid
    /// store.
    ///
    /// # Errors
    /// The file cannot be opened, created or enlarged.
    pub(super) fn open(file: &Path, capacity: usize) -> anyhow::Result<(Self, Marks)> {
        let shown = || format!("{}", file.display());
        if let Ok(mapping) = Mapping::file(file, None)
            && let Some(found) = Self::attach(leaked(mapping))
        {
            return Ok(found);
        }
        let mapping = create(file, HEADER + capacity + SLACK).with_context(shown)?;
        let made = Self::format(leaked(mapping), capacity);
        made.with_context(shown)
    }

    /// Attaches to the store in `memory`, if it is one.
    pub(super) fn attach(memory: Window<'static>) -> Option<(Self, Marks)> {
        let store = Self::parts(memory)?;
        let mut bytes = [0; Marks::WORDS * 8];
        let reader = Reader::attach(memory.sub(0, HEADER).ok()?).ok()?;
        let len = reader.read(&mut bytes).ok()?;
        let marks = Marks::decode(&bytes, store.size()).filter(|_| len == bytes.len())?;
        Some((store, marks))
    }

    /// Formats `memory` as an empty store.
    pub(super) fn format(
        memory: Window<'static>,
        capacity: usize,
    ) -> anyhow::Result<(Self, Marks)> {
        let mut store = Self::parts(memory).context("it is too short")?;
        let marks = Marks {
            id: new_id(),
            capacity: capacity as u64,
            ..Marks::default()
        };
        store.save(&marks);
        Ok((store, marks))
    }

    fn parts(memory: Window<'static>) -> Option<Self> {
        let len = memory.len().checked_sub(HEADER).filter(|&len| len > 0)?;
        Some(Self {
            output: memory.sub(HEADER, len).ok()?,
            marks: Writer::attach(memory.sub(0, HEADER).ok()?).ok()?,
        })
    }

    /// Returns how many bytes of output have room.
    pub(super) fn size(&self) -> u64 {
        self.output.len() as u64
    }

    /// Replaces the stored marks by `marks`.
    pub(super) fn save(&mut self, marks: &Marks) {
        let saved = self.marks.write(&marks.encode());
        saved.expect("the header has room for the marks");
    }

    /// Stores output from `position` on; only the end of output that is too long.
    pub(super) fn put(&self, position: u64, output: &[u8]) {
        let size = self.output.len();
        let skip = output.len().saturating_sub(size);
        let at = self.offset(position + skip as u64);
        let output = &output[skip..];
        let (front, wrapped) = output.split_at(output.len().min(size - at));
        self.output.write(at, front);
        self.output.write(0, wrapped);
    }

    /// Reads output from `position` on.
    pub(super) fn get(&self, position: u64, output: &mut [u8]) {
        let at = self.offset(position);
        let len = output.len().min(self.output.len() - at);
        let (front, wrapped) = output.split_at_mut(len);
        self.output.read(at, front);
        self.output.read(0, wrapped);
    }

    fn offset(&self, position: u64) -> usize {
        // Less than the length of the window.
        (position % self.size()) as usize
    }
}

/// Leaks the mapping: an instance's log is mapped as long as KMON runs.
fn leaked(mapping: Mapping) -> Window<'static> {
    Box::leak(Box::new(mapping)).window()
}

/// Creates a file of `len` bytes and allocates all its blocks: an access to a block that cannot be
/// allocated would end KMON.
fn create(file: &Path, len: usize) -> anyhow::Result<Mapping> {
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
    fn marks_are_read_back_from_the_file_and_other_files_are_replaced() {
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
            // Another KMON requests another length, but the file keeps its own.
            let (again, found) = Store::open(&file, 500_000).unwrap();
            assert_eq!(found, marks);
            let mut bytes = [0; 5];
            again.get(0, &mut bytes);
            assert_eq!(&bytes, b"hello");
        }
    }

    #[test]
    fn impossible_marks_are_refused() {
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
    fn output_wraps_and_of_too_long_output_the_end_is_kept() {
        let memory = Box::leak(Box::new(Heap::new(HEADER + 16))).window();
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
