//! Sends the data of a copy, as far as KMON has room for them.

use kmon_protocol::Event;
use kmon_protocol::file::FileError;
use kmon_protocol::transfer::{Digest, Failure, Report};

use super::mailbox::Mailbox;
use crate::outlet::Outlet;

/// Sends the data of one copy.
pub(super) struct Sending<'a> {
    stream: u32,
    mailbox: &'a Mailbox,
    outlet: &'a Outlet,
    position: u64,
    /// Position up to which KMON has room.
    credit: u64,
}

impl<'a> Sending<'a> {
    /// Begins at `offset`.
    pub(super) fn begin(
        stream: u32,
        mailbox: &'a Mailbox,
        outlet: &'a Outlet,
        offset: u64,
    ) -> Self {
        let sending = Self {
            stream,
            mailbox,
            outlet,
            position: offset,
            credit: 0,
        };
        sending.report(Report::Started { offset });
        sending
    }

    /// Sends `bytes`, and waits for KMON.
    pub(super) fn send(&mut self, mut bytes: &[u8]) -> Result<(), FileError> {
        while !bytes.is_empty() {
            if self.credit <= self.position {
                self.credit = self.mailbox.wait_for_credit(self.position)?;
            }
            let room = usize::try_from(self.credit - self.position).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room).min(Report::MAX_DATA));
            let event = Event::Transfer {
                stream: self.stream,
                report: Report::Data {
                    offset: self.position,
                    bytes: now,
                },
            };
            if !self.outlet.send(&event, || self.mailbox.keeps_on()) {
                self.mailbox.check()?;
                return Err(broken());
            }
            self.position += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Ends the data; together they have this digest.
    pub(super) fn finish(self, digest: Digest) {
        self.report(Report::End { digest });
    }

    fn report(&self, report: Report<'static>) {
        let stream = self.stream;
        self.outlet.post(Event::Transfer { stream, report });
    }
}

fn broken() -> FileError {
    FileError {
        failure: Failure::Other,
        reason: "the region cannot be used any more".into(),
    }
}
