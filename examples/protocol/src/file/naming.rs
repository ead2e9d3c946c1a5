//! The temporary name of a file that is not whole yet.
//!
//! It is `.kmon-TARGET-SOURCE.part`, beside the target. `TARGET` follows from the target's name,
//! `SOURCE` from the size and the version of the file that is copied. So a repeated copy finds what
//! an earlier one left, a copy of another version does not, and the latter can remove the former.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::error::FileError;
use crate::transfer::{Digest, Failure, FileKind};

use super::source::file_status;

const SUFFIX: &str = ".part";

/// Where a file is written.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    /// The path whose file is replaced.
    pub(super) target: PathBuf,
    prefix: String,
    temporary: String,
}

impl Place {
    /// Returns the place for `target`, which is replaced by this version of a file. If `target` is
    /// a symbolic link, the file that it names is the target.
    pub(super) fn new(target: &Path, size: u64, source: &Digest) -> Result<Self, FileError> {
        let target = match fs::metadata(target) {
            Ok(found) => {
                require_file(target, file_status(&found).kind)?;
                let found = fs::canonicalize(target);
                found.map_err(|error| FileError::from_io(target, &error))?
            }
            // What else is wrong shows when the temporary file is made.
            Err(_) => target.to_owned(),
        };
        let (Some(directory), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(FileError::new(
                Failure::IsDirectory,
                &target,
                "Is a directory",
            ));
        };
        let directory = match directory.as_os_str().is_empty() {
            true => Path::new("."),
            false => directory,
        };
        let prefix = format!(".kmon-{}-", hex(&Sha256::digest(name.as_bytes())[..8]));
        let version = Sha256::new()
            .chain_update(size.to_le_bytes())
            .chain_update(source);
        let temporary = format!("{prefix}{}{SUFFIX}", hex(&version.finalize()[..16]));
        Ok(Self {
            directory: directory.to_owned(),
            target,
            prefix,
            temporary,
        })
    }

    /// Returns the path of the temporary file.
    pub(super) fn temporary(&self) -> PathBuf {
        self.directory.join(&self.temporary)
    }

    /// Returns the temporary files of other versions for the same target.
    pub(super) fn of_other_versions(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return Vec::new(); // Then they stay.
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        let others = names.filter(|name: &OsString| self.is_other_version(name));
        others.map(|name| self.directory.join(name)).collect()
    }

    fn is_other_version(&self, name: &OsStr) -> bool {
        name.to_str().is_some_and(|name| {
            name != self.temporary && name.starts_with(&self.prefix) && name.ends_with(SUFFIX)
        })
    }
}

fn require_file(target: &Path, kind: FileKind) -> Result<(), FileError> {
    match kind {
        FileKind::File => Ok(()),
        FileKind::Directory => {
            let what = "Is a directory";
            Err(FileError::new(Failure::IsDirectory, target, what))
        }
        _ => Err(FileError::new(Failure::Other, target, "not a regular file")),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
