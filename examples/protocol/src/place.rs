//! Where a region's memory comes from, as a word on a command line.

use std::fmt;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::str::FromStr;

use shmem_core::Mapping;

use crate::link::Waiting;

/// Where a region's memory comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `fd:3`: an inherited descriptor.
    Fd(RawFd),
    /// `shm:/name`: POSIX shared memory.
    Shm(String),
    /// `file:/path`: a file.
    File(PathBuf),
    /// `file:/path@64M+2M`: a part of a file, of a virtual machine's memory say.
    FilePart {
        path: PathBuf,
        offset: u64,
        len: u64,
    },
    /// `mem:0x100000000+16M`: reserved physical memory.
    Physical { base: u64, len: u64 },
    /// `pci:/sys/bus/pci/devices/.../resource2`: a PCI device's memory.
    Pci(PathBuf),
}

/// A place that is none, or whose memory cannot be had: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceError(String);

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PlaceError {}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let unknown = || {
            PlaceError(format!(
                "{text:?} is no place of a region: give fd:N, shm:/NAME, file:PATH, \
                 file:PATH@OFFSET+LENGTH, mem:ADDRESS+LENGTH or pci:PATH"
            ))
        };
        let (kind, rest) = text.split_once(':').ok_or_else(unknown)?;
        match kind {
            _ if rest.is_empty() => Err(unknown()),
            "fd" => rest.parse().map(Self::Fd).map_err(|_| unknown()),
            "shm" => Ok(Self::Shm(rest.to_owned())),
            "file" => Ok(file_part(rest).unwrap_or_else(|| Self::File(rest.into()))),
            "pci" => Ok(Self::Pci(rest.into())),
            "mem" => {
                let (base, len) = range(rest).ok_or_else(unknown)?;
                Ok(Self::Physical { base, len })
            }
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Place {
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

/// `PATH@OFFSET+LENGTH`; none if what is behind the last `@` is no range, for then
/// it belongs to the path.
fn file_part(text: &str) -> Option<Place> {
    let (path, part) = text.rsplit_once('@')?;
    let (offset, len) = range(part)?;
    let path = PathBuf::from(path);
    Some(Place::FilePart { path, offset, len })
}

/// `START+LENGTH`.
fn range(text: &str) -> Option<(u64, u64)> {
    let (start, len) = text.split_once('+')?;
    Some((number(start)?, number(len)?))
}

/// A decimal or `0x` number, with `K`, `M` or `G` for powers of 1024.
fn number(text: &str) -> Option<u64> {
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

impl Place {
    /// Maps the memory. An inherited descriptor becomes the mapping's own.
    ///
    /// # Errors
    ///
    /// [`PlaceError`]: what could not be mapped, why, and what to do.
    pub fn open(&self) -> Result<Mapping, PlaceError> {
        let length = |len: u64| {
            usize::try_from(len)
                .map_err(|_| PlaceError(format!("{self}: longer than the address space")))
        };
        let mapping = match self {
            Self::Fd(fd) => return open_fd(*fd),
            Self::Shm(name) => Mapping::posix_shm(name, None),
            Self::File(path) => Mapping::file(path, None),
            Self::FilePart { path, offset, len } => {
                Mapping::file_part(path, *offset, length(*len)?)
            }
            Self::Physical { base, len } => Mapping::physical(*base, length(*len)?),
            Self::Pci(path) => Mapping::pci(path),
        };
        mapping.map_err(|error| PlaceError(error.to_string()))
    }

    /// How the two ends wait for each other over this memory.
    pub fn waiting(&self) -> Waiting {
        match self {
            Self::Fd(_) | Self::Shm(_) | Self::File(_) | Self::FilePart { .. } => Waiting::Futex,
            Self::Physical { .. } | Self::Pci(_) => Waiting::Poll,
        }
    }
}

fn open_fd(fd: RawFd) -> Result<Mapping, PlaceError> {
    // `/proc` tells whether it is open, without touching what is not ours.
    let open = fd > 2 && std::fs::exists(format!("/proc/self/fd/{fd}")).unwrap_or(false);
    if !open {
        return Err(PlaceError(format!(
            "fd:{fd} is not an inherited descriptor: pass one from 3 that is open"
        )));
    }
    // SAFETY: open, not one of the standard three, and passed to this process
    // for this purpose; nothing else in it owns it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    Mapping::from_fd(owned).map_err(|error| PlaceError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_place_comes_back_from_its_text() {
        for text in [
            "fd:3",
            "shm:/kmon2",
            "file:/dev/shm/region",
            "file:/dev/shm/name@home+garden",
            "file:/dev/shm/memory@0x4000000+0x200000",
            "mem:0x100000000+0x1000000",
            "pci:/sys/bus/pci/devices/0000:00:04.0/resource2",
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        let place = "mem:0x100000000+16M".parse();
        let (base, len) = (1 << 32, 16 << 20);
        assert_eq!(place, Ok(Place::Physical { base, len }));
        let place = "file:a@b@64M+2M".parse();
        let (path, offset, len) = ("a@b".into(), 64 << 20, 2 << 20);
        assert_eq!(place, Ok(Place::FilePart { path, offset, len }));
    }

    #[test]
    fn what_is_no_place_is_said_in_one_line() {
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
            let error = text.parse::<Place>().unwrap_err().to_string();
            assert!(error.contains("no place of a region") && !error.contains('\n'));
        }
    }

    #[test]
    fn a_part_that_a_file_does_not_have_is_one_line() {
        let place: Place = "file:/dev/null@64M+2M".parse().unwrap();
        let error = place.open().unwrap_err().to_string();
        assert!(
            error.contains("2097152 bytes of /dev/null at 0x4000000: the file ends at 0x0"),
            "{error}"
        );
    }

    #[test]
    fn a_descriptor_that_is_not_open_is_an_error() {
        let error = Place::Fd(999).open().unwrap_err().to_string();
        assert!(error.starts_with("fd:999 is not"), "{error}");
        assert!(Place::Fd(1).open().is_err());
    }
}
