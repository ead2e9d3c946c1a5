//! The place of a region, as a word on a command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};
use shmem_core::region;

/// The place of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Memory in use.
    Memory(region::MemorySource),
    /// `pid:1234/5`: descriptor 5 of process 1234; without a number, its only region.
    Process { pid: u32, fd: Option<u32> },
    /// A dump: a copy that no partition uses as memory.
    Dump(PathBuf),
}

impl FromStr for Place {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = match text.split_once(':') {
            Some((_, "")) => None,
            Some(("fd", _)) => None,
            Some(("dump", path)) => Some(Self::Dump(path.into())),
            Some(("pid", process)) => parse_process(process),
            // A misspelt place is an error, and not the name of a file.
            Some((kind, _)) if !kind.contains('/') => text.parse().ok().map(Self::Memory),
            _ => (!text.is_empty()).then(|| Self::Dump(text.into())),
        };
        parsed.with_context(|| {
            format!(
                "{text:?} is not a place: give the path of a dump, or shm:/NAME, file:PATH, \
                 file:PATH@OFFSET+LENGTH, mem:ADDRESS+LENGTH, pci:PATH or pid:PID/FD"
            )
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(place) => place.fmt(f),
            Self::Process { pid, fd: Some(fd) } => write!(f, "pid:{pid}/{fd}"),
            Self::Process { pid, fd: None } => write!(f, "pid:{pid}"),
            Self::Dump(path) => write!(f, "{}", path.display()),
        }
    }
}

fn parse_process(text: &str) -> Option<Place> {
    let (pid, fd) = match text.split_once('/') {
        Some((pid, fd)) => (pid, Some(fd.parse().ok()?)),
        None => (text, None),
    };
    let pid = pid.parse().ok()?;
    Some(Place::Process { pid, fd })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_parsed_from_its_text() {
        for text in [
            "shm:/kmon2",
            "file:/dev/shm/region",
            "file:/dev/shm/memory@0x4000000+0x200000",
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
    }

    #[test]
    fn an_invalid_place_is_an_error_of_one_line() {
        for text in [
            "", "shm:", "mem:1", "mem:0x1+", "pid:x", "pid:1/x", "usb:1", "fd:3",
        ] {
            let error = text.parse::<Place>().unwrap_err().to_string();
            assert!(
                error.contains("is not a place") && !error.contains('\n'),
                "{error}"
            );
        }
    }
}
