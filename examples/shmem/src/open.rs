//! Opens the memory of a place for reading only.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::mem::offset_of;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::OFlags;
use shmem_core::Window;
use shmem_core::layout::{LINE, MAGIC, RegionHeader};
use shmem_core::region;

use crate::memory::{Mapped, Private};
use crate::place::Place;
use crate::report::Source;

/// The longest region that a dump is extended to with zeroes.
const LONGEST: u64 = 1 << 40;

/// Memory that was opened.
pub(crate) struct Opened {
    /// The place, with the descriptor that was found.
    pub(crate) place: Place,
    pub(crate) offset: u64,
    memory: Memory,
}

enum Memory {
    Live(Mapped),
    Dump { memory: Private, available: usize },
}

impl Opened {
    pub(crate) fn window(&self) -> Window<'_> {
        match &self.memory {
            Memory::Live(memory) => memory.window(),
            Memory::Dump { memory, .. } => memory.window(),
        }
    }

    /// Returns the number of available bytes.
    pub(crate) fn available(&self) -> usize {
        match &self.memory {
            Memory::Live(memory) => memory.window().len(),
            Memory::Dump { available, .. } => *available,
        }
    }

    pub(crate) fn source(&self) -> Source {
        match &self.memory {
            Memory::Live(_) => Source::Live,
            Memory::Dump { .. } => Source::Dump,
        }
    }
}

impl Place {
    /// Opens the region that starts at `offset`.
    ///
    /// # Errors
    ///
    /// The reason why the place cannot be read, and what to do.
    pub(crate) fn open(&self, offset: u64) -> Result<Opened> {
        let mut place = self.clone();
        let memory = match self {
            Self::Memory(place) => map_memory(place, offset),
            Self::Process { pid, fd } => {
                let fd = fd.map_or_else(|| find_region(*pid), Ok)?;
                place = Self::Process {
                    pid: *pid,
                    fd: Some(fd),
                };
                map_file(&descriptor(*pid, fd), offset)
            }
            Self::Dump(path) => read_dump(path, offset),
        };
        Ok(Opened {
            memory: memory.with_context(|| format!("cannot read {place}"))?,
            place,
            offset,
        })
    }
}

fn map_memory(place: &region::MemorySource, offset: u64) -> Result<Memory> {
    use region::MemorySource::{Fd, File, FilePart, Pci, Physical, Shm};
    match place {
        Shm(name) => map_file(&shm_path(name)?, offset),
        File(path) => map_file(path, offset),
        FilePart {
            path,
            offset: start,
            len,
        } => map_part(path, *start, *len, offset),
        Pci(path) => map_file(path, offset).map_err(hint(
            "enable the device first (write 1 to its `enable`), as root",
        )),
        Physical { base, len } => {
            map_part(Path::new("/dev/mem"), *base, *len, offset).map_err(hint(
                "where the kernel guards its own memory (STRICT_DEVMEM, lockdown), \
                 reserve the range with memmap= or in the device tree",
            ))
        }
        Fd(fd) => bail!("descriptor {fd} is this program's own: give pid:PID/FD"),
    }
}

/// Returns the file of POSIX shared memory, whose name is one path component.
fn shm_path(name: &str) -> Result<PathBuf> {
    let name = name.strip_prefix('/').unwrap_or(name);
    ensure!(
        !name.is_empty() && !name.contains('/') && name != "." && name != "..",
        "shm:/{name} is not a name of shared memory: give shm:/NAME"
    );
    Ok(Path::new("/dev/shm").join(name))
}

fn descriptor(pid: u32, fd: u32) -> PathBuf {
    format!("/proc/{pid}/fd/{fd}").into()
}

fn map_file(path: &Path, offset: u64) -> Result<Memory> {
    let file = open_file(path)?;
    let len = file.metadata()?.len();
    map(&file, offset, remaining(len, offset)?)
}

/// Maps the bytes from `offset` on in the `len` bytes at `base`.
fn map_part(path: &Path, base: u64, len: u64, offset: u64) -> Result<Memory> {
    let file = open_file(path)?;
    let start = base
        .checked_add(offset)
        .context("the address is too large")?;
    let left = remaining(len, offset)?;
    // A device has no length.
    let metadata = file.metadata()?;
    if metadata.is_file() {
        let end = start.checked_add(left).filter(|&end| end <= metadata.len());
        end.with_context(|| format!("the file ends at {:#x}", metadata.len()))?;
    }
    map(&file, start, left)
}

fn map(file: &File, offset: u64, len: u64) -> Result<Memory> {
    ensure!(
        offset.is_multiple_of(8),
        "offset {offset} is not a multiple of 8"
    );
    let len = usize::try_from(len).context("longer than the address space")?;
    let mapped = Mapped::read_only(file, offset, len).map_err(brief)?;
    Ok(Memory::Live(mapped))
}

/// Reads the region in a dump, or the whole dump if the region's length is unknown.
fn read_dump(path: &Path, offset: u64) -> Result<Memory> {
    let mut file = open_file(path)?;
    let len = file.metadata()?.len();
    let max = remaining(len, offset)?;
    let stated = region_len(&mut file, offset)?;
    // Zeroes replace the missing end of a dump that was cut off.
    let region = stated.filter(|&stated| stated <= LONGEST && stated.is_multiple_of(8));
    let max = region.map_or(max, |region| region.min(max));
    let size = |len: u64| usize::try_from(len).context("longer than the address space");
    let (memory, available) =
        Private::read(&mut file, offset, size(max)?, size(region.unwrap_or(max))?)?;
    ensure!(available != 0, "it is empty");
    Ok(Memory::Dump { memory, available })
}

/// Returns the length in the header, if that has the magic.
fn region_len(file: &mut File, offset: u64) -> Result<Option<u64>> {
    let mut header = [0; LINE];
    file.seek(SeekFrom::Start(offset))?;
    match file.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let word = |at: usize| {
        let bytes = header[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes)
    };
    let low = word(offset_of!(RegionHeader, length_low));
    let high = word(offset_of!(RegionHeader, length_high));
    let len = u64::from(high) << 32 | u64::from(low);
    Ok((word(offset_of!(RegionHeader, magic)) == MAGIC).then_some(len))
}

fn remaining(len: u64, offset: u64) -> Result<u64> {
    ensure!(len != 0, "it is empty");
    let left = len.checked_sub(offset).filter(|&left| left != 0);
    left.with_context(|| format!("it ends at {len}, before offset {offset}"))
}

/// Opens a file or device for reading. Does not wait for a peer, and does not make a terminal
/// the controlling terminal.
fn open_file(path: &Path) -> Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(brief)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        bail!("it is a directory");
    }
    ensure!(
        kind.is_file() || kind.is_char_device() || kind.is_block_device(),
        "it is neither a file nor a device"
    );
    Ok(file)
}

/// Returns the kernel's reason without its number, and what to do.
fn brief(error: io::Error) -> anyhow::Error {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "; run as a user with access to it",
        io::ErrorKind::NotFound => "; check the name",
        _ => "",
    };
    anyhow::anyhow!("{text}{hint}")
}

/// Returns a function that appends what to do to an error.
fn hint(hint: &str) -> impl Fn(anyhow::Error) -> anyhow::Error {
    move |error| anyhow::anyhow!("{error:#}; {hint}")
}

/// Finds the only descriptor of a process that is a region.
fn find_region(pid: u32) -> Result<u32> {
    let directory = format!("/proc/{pid}/fd");
    let entries = std::fs::read_dir(directory)
        .map_err(brief)
        .with_context(|| format!("cannot read pid:{pid}"))?;
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut regions: Vec<u32> = numbers.filter(|&fd| is_region(pid, fd)).collect();
    regions.sort_unstable();
    match regions[..] {
        [fd] => Ok(fd),
        [] => bail!("cannot read pid:{pid}: none of its descriptors is a region"),
        _ => {
            let names: Vec<_> = regions.iter().map(|fd| format!("pid:{pid}/{fd}")).collect();
            bail!(
                "process {pid} has several regions: give one of {}",
                names.join(", ")
            )
        }
    }
}

fn is_region(pid: u32, fd: u32) -> bool {
    let path = descriptor(pid, fd);
    // Only files, because opening a device can have effects.
    let is_file = std::fs::metadata(&path).is_ok_and(|metadata| metadata.is_file());
    let mut word = [0; 4];
    is_file
        && open_file(&path).is_ok_and(|mut file| file.read_exact(&mut word).is_ok())
        && u32::from_le_bytes(word) == MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_is_not_a_path_to_elsewhere() {
        for name in ["", "/", "/..", "../etc/passwd", "/a/b"] {
            assert!(shm_path(name).is_err(), "{name}");
        }
        assert_eq!(shm_path("/a").unwrap(), Path::new("/dev/shm/a"));
    }
}
