//! The place of the memory, as a word on a command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use shmem_core::Mapping;

/// The place of the memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// `16M`: new memory without a name, sealed against shrinking.
    New(usize),
    /// `shm:/name`: POSIX shared memory.
    Shm(String),
    /// `file:/path`: a file.
    File(PathBuf),
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("shm", name)) if !name.is_empty() => Ok(Self::Shm(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => std::path::absolute(path)
                .map(Self::File)
                .map_err(|error| error.to_string()),
            None => size(text).map(Self::New),
            Some(_) => Err("give a size, as in 16M, file:PATH or shm:/NAME".to_owned()),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New(_) => f.write_str("memory without a name"),
            Self::Shm(name) => write!(f, "shm:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl Memory {
    /// Maps the memory. Memory with a name is created with `size` bytes if that is given and it
    /// does not exist.
    pub(crate) fn open(&self, size: Option<usize>) -> Result<Mapping> {
        let mapping = match self {
            Self::New(_) if size.is_some() => {
                bail!("--size is for file:PATH and shm:/NAME; this memory already has a size")
            }
            Self::New(len) => Mapping::memfd("ivshmem", *len),
            Self::Shm(name) => Mapping::posix_shm(name, size),
            Self::File(path) => Mapping::file(path, size),
        };
        mapping.context("cannot use the memory (--size SIZE creates memory with a name)")
    }
}

/// Parses a number of bytes, with `K`, `M` or `G` for powers of 1024. It must be a power of two,
/// as a PCI device requires.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1_usize),
    };
    digits
        .parse()
        .ok()
        .and_then(|number: usize| number.checked_mul(unit))
        .filter(|bytes| bytes.is_power_of_two() && *bytes >= 4096)
        .ok_or_else(|| "give a power of two, at least 4K, as in 16M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_power_of_two_and_at_least_a_page() {
        assert_eq!(size("16M"), Ok(16 << 20));
        assert_eq!(size("4096"), Ok(4096));
        for wrong in ["", "M", "0", "2K", "3M", "-1", "16m", "99999999999999G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn memory_is_a_size_or_has_a_name() {
        let parse = |text: &str| text.parse::<Memory>();
        assert_eq!(parse("1M"), Ok(Memory::New(1 << 20)));
        assert_eq!(parse("shm:/a"), Ok(Memory::Shm("/a".to_owned())));
        assert_eq!(parse("file:/a:b"), Ok(Memory::File("/a:b".into())));
        for wrong in ["shm:", "file:", "mem:1+1M", ":", "x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
