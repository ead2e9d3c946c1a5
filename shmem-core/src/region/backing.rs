//! The file of a mapping, and whether its name still refers to it.

use core::fmt;
use std::borrow::ToOwned;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{fstat, FileType, Stat};
use rustix::io::Errno;

/// Why a process that maps the same name now gets other memory than this mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Displaced {
    /// The file was removed or renamed.
    Removed,
    /// The name now refers to another file.
    Replaced,
    /// The file was truncated: accesses past its end fault (SIGBUS).
    Truncated {
        /// Bytes of the file.
        len: u64,
    },
}

impl fmt::Display for Displaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed => f.write_str("the file of the mapping was removed: map it again"),
            Self::Replaced => {
                f.write_str("the file of the mapping was replaced by another file: map that one")
            }
            Self::Truncated { len } => write!(
                f,
                "the file of the mapping was truncated to {len} bytes: \
                 do not access the rest, map it again"
            ),
        }
    }
}

impl std::error::Error for Displaced {}

/// A descriptor, and its file at the time of the mapping.
#[derive(Debug)]
pub(super) struct Backing {
    pub(super) fd: OwnedFd,
    /// The absolute path.
    path: Option<PathBuf>,
    /// Device and inode.
    identity: (u64, u64),
    has_name: bool,
    /// True for a regular file: the length is checked only then.
    is_file: bool,
}

impl Backing {
    pub(super) fn new(fd: OwnedFd, path: Option<&Path>) -> Result<Self, Errno> {
        let stat = fstat(&fd)?;
        let absolute = |path: &Path| match std::env::current_dir() {
            Ok(directory) => directory.join(path),
            Err(_) => path.to_owned(),
        };
        Ok(Self {
            path: path.map(absolute),
            identity: identity(&stat),
            has_name: stat.st_nlink != 0,
            is_file: FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile,
            fd,
        })
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Returns `Ok` if the file still has its name and at least `end` bytes.
    pub(super) fn check(&self, end: u64) -> Result<(), Displaced> {
        // It fails only if a file server has lost the file.
        let stat = fstat(&self.fd).map_err(|_| Displaced::Removed)?;
        let len = stat.st_size as u64;
        if self.is_file && len < end {
            return Err(Displaced::Truncated { len });
        }
        match self.path.as_ref().map(fs::metadata) {
            Some(Ok(found)) if (found.dev(), found.ino()) != self.identity => {
                Err(Displaced::Replaced)
            }
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) if error.kind() == ErrorKind::NotFound => Err(Displaced::Removed),
            // No path, or no permission to read it: use the link count of the file.
            _ if self.has_name && stat.st_nlink == 0 => Err(Displaced::Removed),
            _ => Ok(()),
        }
    }
}

#[allow(clippy::unnecessary_cast)] // The widths differ between machines.
fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}
