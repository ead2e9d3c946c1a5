//! Carries out one request.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kmon_protocol::Event;
use kmon_protocol::file::{FileError, file_status};
use kmon_protocol::transfer::{Digest, Failure, Report, Request};

use super::mailbox::Mailbox;
use super::{get, list, put};
use crate::outlet::Outlet;

/// A request that begins a copy, with its absolute path.
pub(super) struct Task {
    path: PathBuf,
    what: What,
}

enum What {
    Put {
        size: u64,
        mode: u32,
        source: Digest,
    },
    Get,
    List,
    Status,
    MakeDirectory {
        mode: u32,
    },
    SetMode {
        mode: u32,
    },
    /// The request begins nothing.
    Nothing,
}

impl Task {
    /// Returns the task of `request`. A relative path begins at `home`.
    pub(super) fn new(request: &Request<'_>, home: &Path) -> Self {
        let (path, what) = match *request {
            Request::Put {
                path,
                size,
                mode,
                source,
            } => (path, What::Put { size, mode, source }),
            Request::Get { path } => (path, What::Get),
            Request::List { path } => (path, What::List),
            Request::Status { path } => (path, What::Status),
            Request::MakeDirectory { path, mode } => (path, What::MakeDirectory { mode }),
            Request::SetMode { path, mode } => (path, What::SetMode { mode }),
            _ => (&[][..], What::Nothing),
        };
        Self {
            path: home.join(std::ffi::OsStr::from_bytes(path)),
            what,
        }
    }

    /// Carries it out.
    pub(super) fn run(
        &self,
        stream: u32,
        mailbox: &Mailbox,
        outlet: &Outlet,
    ) -> Result<(), FileError> {
        let path = &self.path;
        match self.what {
            What::Put { size, mode, source } => {
                let file = put::Wanted { size, mode, source };
                put::run(path, &file, stream, mailbox, outlet)
            }
            What::Get => get::run(path, stream, mailbox, outlet),
            What::List => list::run(path, stream, mailbox, outlet),
            What::Status => {
                let found = fs::metadata(path).map_err(|error| FileError::from_io(path, &error))?;
                let report = Report::Status(file_status(&found));
                outlet.post(Event::Transfer { stream, report });
                Ok(())
            }
            What::MakeDirectory { mode } => make_directory(path, mode),
            What::SetMode { mode } => set_mode(path, mode),
            What::Nothing => Err(FileError::new(Failure::Protocol, path, "nothing to copy")),
        }
    }
}

/// Makes the directory `path`. One that exists stays as it is.
fn make_directory(path: &Path, mode: u32) -> Result<(), FileError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => set_mode(path, mode), // The mask does not apply to it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(FileError::from_io(path, &error)),
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), FileError> {
    let set = fs::set_permissions(path, Permissions::from_mode(mode));
    set.map_err(|error| FileError::from_io(path, &error))
}
