//! Where a region is, as a word on a command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};

/// Where a region is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `shm:/name`: POSIX shared memory.
    Shm(String),
    /// `file:/path`: a file that is somebody's memory now.
    File(PathBuf),
    /// `mem:0x100000000+16M`: physical memory.
    Physical { base: u64, len: u64 },
    /// `pci:/sys/bus/pci/devices/.../resource2`: a PCI device's memory.
    Pci(PathBuf),
    /// `pid:1234/5`: descriptor 5 of process 1234; without a number, its only region.
    Process { pid: u32, fd: Option<u32> },
    /// A dump: a copy that nobody uses as memory.
    Dump(PathBuf),
}

impl FromStr for Place {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = match text.split_once(':') {
            Some((_, "")) => None,
            Some(("shm", name)) => Some(Self::Shm(name.to_owned())),
            Some(("file", path)) => Some(Self::File(path.into())),
            Some(("pci", path)) => Some(Self::Pci(path.into())),
            Some(("dump", path)) => Some(Self::Dump(path.into())),
            Some(("mem", range)) => physical(range),
            Some(("pid", process)) => of_process(process),
            // A misspelt place, rather than the name of a file.
            Some((kind, _)) if !kind.contains('/') => None,
            _ => (!text.is_empty()).then(|| Self::Dump(text.into())),
        };
        parsed.with_context(|| {
            format!(
                "{text:?} is no place: give the path of a dump, or shm:/NAME, file:PATH, \
                 mem:ADDRESS+LENGTH, pci:PATH or pid:PID/FD"
            )
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shm(name) => write!(f, "shm:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Physical { base, len } => write!(f, "mem:{base:#x}+{len:#x}"),
            Self::Pci(path) => write!(f, "pci:{}", path.display()),
            Self::Process { pid, fd: Some(fd) } => write!(f, "pid:{pid}/{fd}"),
            Self::Process { pid, fd: None } => write!(f, "pid:{pid}"),
            Self::Dump(path) => write!(f, "{}", path.display()),
        }
    }
}

fn physical(range: &str) -> Option<Place> {
    let (base, len) = range.split_once('+')?;
    let (base, len) = (number(base)?, number(len)?);
    Some(Place::Physical { base, len })
}

fn of_process(text: &str) -> Option<Place> {
    let (pid, fd) = match text.split_once('/') {
        Some((pid, fd)) => (pid, Some(fd.parse().ok()?)),
        None => (text, None),
    };
    let pid = pid.parse().ok()?;
    Some(Place::Process { pid, fd })
}

/// A decimal or `0x` number, with `K`, `M` or `G` for powers of 1024.
pub(crate) fn number(text: &str) -> Option<u64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_comes_back_from_its_text() {
        for text in [
            "shm:/kmon2",
            "file:/dev/shm/region",
            "mem:0x100000000+0x1000000",
            "pci:/sys/bus/pci/devices/0000:00:04.0/resource2",
            "pid:12/5",
            "pid:12",
            "/var/crash/region.dump",
            "./a:b",
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        let dump = "dump:with:colon".parse::<Place>().unwrap();
        assert_eq!(dump, Place::Dump("with:colon".into()));
        let place = "mem:4K+16M".parse::<Place>().unwrap();
        let (base, len) = (4096, 16 << 20);
        assert_eq!(place, Place::Physical { base, len });
    }

    #[test]
    fn what_is_no_place_is_said_in_one_line() {
        for text in ["", "shm:", "mem:1", "mem:0x1+", "pid:x", "pid:1/x", "usb:1"] {
            let error = text.parse::<Place>().unwrap_err().to_string();
            assert!(
                error.contains("is no place") && !error.contains('\n'),
                "{error}"
            );
        }
    }
}
