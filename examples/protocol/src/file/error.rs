//! Why a file cannot be read or written, in one line.

use std::fmt;
use std::io;
use std::path::Path;

use crate::transfer::Failure;

/// Why a file cannot be read or written, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The kind of the failure.
    pub failure: Failure,
    /// The line, which names the path.
    pub reason: String,
}

impl FileError {
    /// Creates an error about `path`.
    pub fn new(failure: Failure, path: &Path, what: impl fmt::Display) -> Self {
        let reason = format!("{}: {what}", path.display());
        Self { failure, reason }
    }

    /// Creates an error from that of a system call on `path`.
    pub fn from_io(path: &Path, error: &io::Error) -> Self {
        let failure = match error.kind() {
            io::ErrorKind::NotFound => Failure::NotFound,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Failure::Permission
            }
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Failure::NoSpace,
            io::ErrorKind::IsADirectory => Failure::IsDirectory,
            io::ErrorKind::NotADirectory => Failure::NotDirectory,
            _ => Failure::Other,
        };
        let text = error.to_string();
        // Without the number that the standard library appends.
        let text = text.split(" (os error").next().unwrap_or_default();
        Self::new(failure, path, text)
    }

    /// Returns the error of a copy that was cancelled.
    pub fn cancelled() -> Self {
        Self {
            failure: Failure::Cancelled,
            reason: "the copy was cancelled".into(),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for FileError {}
