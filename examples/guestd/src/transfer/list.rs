//! Sends the list of a directory.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use kmon_protocol::file::{FileError, digest_of, file_status};
use kmon_protocol::transfer::{Entry, Failure, MAX_LIST};

use super::mailbox::Mailbox;
use super::sending::Sending;
use crate::outlet::Outlet;

/// Sends the entries of the directory `path`, ordered by their names.
pub(super) fn run(
    path: &Path,
    stream: u32,
    mailbox: &Mailbox,
    outlet: &Outlet,
) -> Result<(), FileError> {
    let list = encoded(path)?;
    let mut sending = Sending::begin(stream, mailbox, outlet, 0);
    sending.send(&list)?;
    sending.finish(digest_of(&list));
    Ok(())
}

fn encoded(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |error| FileError::from_io(path, &error);
    let mut entries = Vec::new();
    let mut len = 0;
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // One that was removed meanwhile is not in the list.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let kind = file_status(&metadata).kind;
        let name = entry.file_name().into_vec();
        len += 4 + name.len();
        if len > MAX_LIST {
            let what = "the directory has too many entries to be listed";
            return Err(FileError::new(Failure::Other, path, what));
        }
        entries.push(Entry { kind, name });
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    let mut list = Vec::with_capacity(len);
    entries.iter().for_each(|entry| entry.encode(&mut list));
    Ok(list)
}
