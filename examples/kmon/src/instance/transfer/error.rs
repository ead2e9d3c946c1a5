//! Why a copy failed.

use std::fmt;

use kmon_protocol::file::FileError;
use kmon_protocol::transfer::Failure;

/// Why a copy failed, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TransferError {
    pub(crate) failure: Failure,
    pub(crate) reason: String,
}

impl TransferError {
    pub(crate) fn new(failure: Failure, reason: impl Into<String>) -> Self {
        Self {
            failure,
            reason: reason.into(),
        }
    }
}

impl From<FileError> for TransferError {
    fn from(FileError { failure, reason }: FileError) -> Self {
        Self { failure, reason }
    }
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for TransferError {}
