//! Sends a file.

use std::path::Path;

use kmon_protocol::Event;
use kmon_protocol::file::{FileError, SourceFile};
use kmon_protocol::transfer::Report;

use super::mailbox::Mailbox;
use super::sending::Sending;
use crate::outlet::Outlet;

/// Bytes that are read at once.
const CHUNK: usize = 4 * Report::MAX_DATA;

/// Sends the file `path`.
pub(super) fn run(
    path: &Path,
    stream: u32,
    mailbox: &Mailbox,
    outlet: &Outlet,
) -> Result<(), FileError> {
    let mut source = SourceFile::open(path)?;
    let report = Report::Status(source.status().clone());
    outlet.post(Event::Transfer { stream, report });
    let (offset, digest) = mailbox.wait_for_start()?;
    let offset = source.begin(offset, &digest, || mailbox.keeps_on())?;
    let mut sending = Sending::begin(stream, mailbox, outlet, offset);
    let mut chunk = vec![0; CHUNK];
    loop {
        match source.read(&mut chunk)? {
            0 => break,
            len => sending.send(&chunk[..len])?,
        }
    }
    sending.finish(source.finish()?);
    Ok(())
}
