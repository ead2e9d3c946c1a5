//! Receives a file.

use std::path::Path;

use kmon_protocol::Event;
use kmon_protocol::file::{FileError, Partial};
use kmon_protocol::transfer::{Digest, Report};
use nix::sys::signal::{SigSet, Signal};

use super::mailbox::{Mailbox, Taken};
use crate::outlet::Outlet;

/// Bytes that KMON may send before they are written.
const WINDOW: u64 = 2 << 20;

/// What KMON has announced.
pub(super) struct Wanted {
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) source: Digest,
}

/// Receives the file `path`.
pub(super) fn run(
    path: &Path,
    wanted: &Wanted,
    stream: u32,
    mailbox: &Mailbox,
    outlet: &Outlet,
) -> Result<(), FileError> {
    let report = |report| outlet.post(Event::Transfer { stream, report });
    refuse_size_signal();
    let mut partial = Partial::open(path, wanted.size, &wanted.source)?;
    let (offset, digest) = partial.held(|| mailbox.keeps_on())?;
    report(Report::Held { offset, digest });
    let (start, _) = mailbox.wait_for_start()?;
    partial.begin(start)?;
    let mut allowed = start;
    let mut data = Vec::new();
    loop {
        // Rarely, so that KMON is not woken for each record.
        if allowed - partial.position() <= WINDOW / 2 {
            allowed = partial.position().saturating_add(WINDOW);
            mailbox.allow(allowed);
            report(Report::Credit { position: allowed });
        }
        match mailbox.take(&mut data)? {
            Taken::Data => partial.write(&data)?,
            Taken::Finish(digest) => return partial.commit(&digest, wanted.mode),
        }
    }
}

/// A file that reaches the process's limit is an error of this thread, not the process's end.
fn refuse_size_signal() {
    let mut set = SigSet::empty();
    set.add(Signal::SIGXFSZ);
    // If this fails, only that limit is not survived.
    let _ = set.thread_block();
}
