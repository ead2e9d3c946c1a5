//! Memory to inspect: mapped read-only, or copied into private memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::mem::offset_of;
use std::ptr::NonNull;

use memmap2::{MmapMut, MmapOptions, MmapRaw};
use shmem_core::Window;
use shmem_core::layout::{MAGIC, RegionHeader, VERSION};

/// Bytes that are copied at a time.
const CHUNK: usize = 64 << 10;

/// A read-only mapping.
pub(crate) struct Mapped(MmapRaw);

impl Mapped {
    /// Maps `len` bytes of `file` from `offset`, a multiple of 8, read-only.
    pub(crate) fn read_only(file: &File, offset: u64, len: usize) -> io::Result<Self> {
        let mut options = MmapOptions::new();
        options.offset(offset).len(len);
        options.map_raw_read_only(file).map(Self)
    }

    /// Returns the whole mapping; the caller must not store through the window.
    pub(crate) fn window(&self) -> Window<'_> {
        window(&self.0)
    }
}

/// Private memory: zero except for what was read into it.
pub(crate) struct Private(MmapRaw);

impl Private {
    /// Copies the first `there` bytes of `memory` into a region of `len` bytes with a valid
    /// header.
    ///
    /// # Errors
    ///
    /// There is not enough memory.
    pub(crate) fn repaired(memory: Window<'_>, available: usize, len: usize) -> io::Result<Self> {
        let mut copy = zeroed(len)?;
        let available = available.min(len).min(memory.len());
        for start in (0..available).step_by(CHUNK) {
            let mut chunk = [0; CHUNK];
            let chunk = &mut chunk[..CHUNK.min(available - start)];
            memory.read_shared(start, chunk);
            put(&mut copy, start, chunk);
        }
        let mut put_word = |offset: usize, word: u32| {
            copy[offset..offset + 4].copy_from_slice(&word.to_le_bytes());
        };
        put_word(offset_of!(RegionHeader, magic), MAGIC);
        put_word(offset_of!(RegionHeader, version), VERSION);
        put_word(offset_of!(RegionHeader, features), 0);
        put_word(offset_of!(RegionHeader, length_low), len as u32);
        put_word(
            offset_of!(RegionHeader, length_high),
            (len as u64 >> 32) as u32,
        );
        Ok(Self(copy.into()))
    }

    /// Reads up to `max` bytes of `file` from `offset` into memory of at least `len` bytes.
    /// Returns how many bytes it read.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or there is not enough memory.
    pub(crate) fn read(
        file: &mut File,
        offset: u64,
        max: usize,
        len: usize,
    ) -> io::Result<(Self, usize)> {
        let mut copy = zeroed(max.max(len))?;
        file.seek(SeekFrom::Start(offset))?;
        let mut chunk = vec![0; CHUNK];
        let mut available = 0;
        while available < max {
            let room = CHUNK.min(max - available);
            match file.read(&mut chunk[..room]) {
                Ok(0) => break,
                Ok(len) => {
                    put(&mut copy, available, &chunk[..len]);
                    available += len;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok((Self(copy.into()), available))
    }

    /// Returns all of it.
    pub(crate) fn window(&self) -> Window<'_> {
        window(&self.0)
    }
}

/// Allocates memory in which only written pages take space.
fn zeroed(len: usize) -> io::Result<MmapMut> {
    let len = len.max(1).next_multiple_of(8);
    MmapOptions::new().len(len).no_reserve_swap().map_anon()
}

/// Copies `chunk` to `start`. Zeroes need no copy.
fn put(copy: &mut MmapMut, start: usize, chunk: &[u8]) {
    if chunk.iter().any(|&byte| byte != 0) {
        copy[start..start + chunk.len()].copy_from_slice(chunk);
    }
}

fn window(map: &MmapRaw) -> Window<'_> {
    let base = NonNull::new(map.as_mut_ptr()).expect("no mapping is at the null address");
    // SAFETY: the mapping is readable during the borrow, and no code stores through the window
    // of a read-only mapping. There are no references to it.
    let window = unsafe { Window::from_raw(base, map.len()) };
    window.expect("a mapping starts at a page, and offsets are multiples of 8")
}
