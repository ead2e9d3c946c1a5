//! Where a region's memory comes from, as text for a command line.

use core::fmt;
use core::str::FromStr;
use std::borrow::ToOwned;
use std::error::Error;
use std::format;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::string::String;

use super::{MapError, Mapping};

/// Where a region's memory comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemorySource {
    /// `fd:3`: an inherited descriptor.
    Fd(RawFd),
    /// `shm:/name`: POSIX shared memory.
    Shm(String),
    /// `file:/path`: a file.
    File(PathBuf),
    /// `file:/path@64M+2M`: a part of a file, for example of a virtual machine's memory.
    FilePart {
        /// The file.
        path: PathBuf,
        /// Offset of the part in the file.
        offset: u64,
        /// Bytes of the part.
        len: u64,
    },
    /// `mem:0x100000000+16M`: reserved physical memory.
    Physical {
        /// Physical address.
        base: u64,
        /// Bytes.
        len: u64,
    },
    /// `pci:/sys/bus/pci/devices/.../resource2`: a PCI device's memory.
    Pci(PathBuf),
}

/// Why a memory source cannot be opened. The message is one line.
#[derive(Debug)]
pub enum MemorySourceError {
    /// The text is not a memory source.
    NotASource {
        /// The text.
        text: String,
    },
    /// The descriptor was not passed to this program.
    NotInherited {
        /// Its number.
        fd: RawFd,
    },
    /// The length exceeds the address space.
    TooLong {
        /// The length in bytes.
        len: u64,
    },
    /// The memory cannot be mapped.
    Map(MapError),
}

impl fmt::Display for MemorySourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASource { text } => write!(
                f,
                "{text:?} is not a place of a region: give fd:N, shm:/NAME, file:PATH, \
                 file:PATH@OFFSET+LENGTH, mem:ADDRESS+LENGTH or pci:PATH"
            ),
            Self::NotInherited { fd } => write!(
                f,
                "fd:{fd} is not an inherited descriptor: pass an open one, from 3 on"
            ),
            Self::TooLong { len } => write!(f, "{len} bytes are longer than the address space"),
            Self::Map(error) => error.fmt(f),
        }
    }
}

impl Error for MemorySourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Map(error) => error.source(),
            Self::NotASource { .. } | Self::NotInherited { .. } | Self::TooLong { .. } => None,
        }
    }
}

impl From<MapError> for MemorySourceError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

impl FromStr for MemorySource {
    type Err = MemorySourceError;

    fn from_str(text: &str) -> Result<Self, MemorySourceError> {
        parse(text).ok_or_else(|| MemorySourceError::NotASource {
            text: text.to_owned(),
        })
    }
}

fn parse(text: &str) -> Option<MemorySource> {
    let (kind, rest) = text.split_once(':')?;
    if rest.is_empty() {
        return None;
    }
    Some(match kind {
        "fd" => MemorySource::Fd(rest.parse().ok()?),
        "shm" => MemorySource::Shm(rest.to_owned()),
        "file" => file_part(rest).unwrap_or_else(|| MemorySource::File(rest.into())),
        "pci" => MemorySource::Pci(rest.into()),
        "mem" => {
            let (base, len) = range(rest)?;
            MemorySource::Physical { base, len }
        }
        _ => return None,
    })
}

impl fmt::Display for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fd(fd) => write!(f, "fd:{fd}"),
            Self::Shm(name) => write!(f, "shm:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::FilePart { path, offset, len } => {
                write!(f, "file:{}@{offset:#x}+{len:#x}", path.display())
            }
            Self::Physical { base, len } => write!(f, "mem:{base:#x}+{len:#x}"),
            Self::Pci(path) => write!(f, "pci:{}", path.display()),
        }
    }
}

/// Parses `PATH@OFFSET+LENGTH`. Returns `None` if the text after the last `@` is not a range:
/// then it is part of the path.
fn file_part(text: &str) -> Option<MemorySource> {
    let (path, part) = text.rsplit_once('@')?;
    let (offset, len) = range(part)?;
    let path = PathBuf::from(path);
    Some(MemorySource::FilePart { path, offset, len })
}

/// Parses `START+LENGTH`.
fn range(text: &str) -> Option<(u64, u64)> {
    let (start, len) = text.split_once('+')?;
    Some((parse_bytes(start)?, parse_bytes(len)?))
}

/// Parses a number of bytes: decimal or `0x`, with `K`, `M` or `G` for powers of 1024.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1 << 10),
        b'M' => (&text[..text.len() - 1], 1 << 20),
        b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1_u64),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    value.checked_mul(unit)
}

impl MemorySource {
    /// Maps the memory. The mapping owns an inherited descriptor from then on.
    ///
    /// # Errors
    ///
    /// [`MemorySourceError`] if the memory could not be mapped: its text contains the reason and
    /// what to do.
    pub fn open(&self) -> Result<Mapping, MemorySourceError> {
        let length = |len| usize::try_from(len).map_err(|_| MemorySourceError::TooLong { len });
        Ok(match self {
            Self::Fd(fd) => Mapping::from_fd(inherited(*fd)?)?,
            Self::Shm(name) => Mapping::posix_shm(name, None)?,
            Self::File(path) => Mapping::file(path, None)?,
            Self::FilePart { path, offset, len } => {
                Mapping::file_part(path, *offset, length(*len)?)?
            }
            Self::Physical { base, len } => Mapping::physical(*base, length(*len)?)?,
            Self::Pci(path) => Mapping::pci(path)?,
        })
    }

    /// Returns true if futexes work on this memory. They do not on device memory or reserved
    /// memory.
    pub fn has_futex(&self) -> bool {
        match self {
            Self::Fd(_) | Self::Shm(_) | Self::File(_) | Self::FilePart { .. } => true,
            Self::Physical { .. } | Self::Pci(_) => false,
        }
    }
}

/// Takes ownership of the inherited descriptor `fd`.
fn inherited(fd: RawFd) -> Result<OwnedFd, MemorySourceError> {
    // `/proc` shows whether it is open, without using a descriptor that is not ours.
    if fd <= 2 || !Path::new(&format!("/proc/self/fd/{fd}")).exists() {
        return Err(MemorySourceError::NotInherited { fd });
    }
    // SAFETY: open, not one of the standard three, and passed to this process
    // for this purpose; nothing else in this process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_memory_source_parses_from_its_text() {
        for text in [
            "fd:3",
            "shm:/kmon2",
            "file:/dev/shm/region",
            "file:/dev/shm/name@home+garden",
            "file:/dev/shm/memory@0x4000000+0x200000",
            "mem:0x100000000+0x1000000",
            "pci:/sys/bus/pci/devices/0000:00:04.0/resource2",
        ] {
            assert_eq!(text.parse::<MemorySource>().unwrap().to_string(), text);
        }
        let source = "mem:0x100000000+16M".parse::<MemorySource>().unwrap();
        let (base, len) = (1 << 32, 16 << 20);
        assert_eq!(source, MemorySource::Physical { base, len });
        let source = "file:a@b@64M+2M".parse::<MemorySource>().unwrap();
        let (path, offset, len) = ("a@b".into(), 64 << 20, 2 << 20);
        assert_eq!(source, MemorySource::FilePart { path, offset, len });
    }

    #[test]
    fn an_invalid_memory_source_is_reported_in_one_line() {
        for text in [
            "",
            "fd",
            "fd:",
            "fd:x",
            "mem:1",
            "mem:0x1+",
            "mem:1+99999999999G",
            "usb:1",
        ] {
            let error = text.parse::<MemorySource>().unwrap_err().to_string();
            assert!(error.contains("not a place of a region") && !error.contains('\n'));
        }
    }

    #[test]
    fn a_part_past_the_end_of_a_file_is_an_error() {
        let source: MemorySource = "file:/dev/null@64M+2M".parse().unwrap();
        let error = source.open().unwrap_err().to_string();
        assert!(
            error.contains("2097152 bytes of /dev/null at 0x4000000: the file ends at 0x0"),
            "{error}"
        );
    }

    #[test]
    fn a_descriptor_that_is_not_open_is_an_error() {
        let error = MemorySource::Fd(999).open().unwrap_err().to_string();
        assert!(error.starts_with("fd:999 is not"), "{error}");
        assert!(MemorySource::Fd(1).open().is_err());
    }
}
