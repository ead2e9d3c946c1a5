//! What an instance has reported about one copy. The instance's receiving thread fills it.

use std::collections::VecDeque;

use kmon_protocol::transfer::{Digest, Failure, FileStatus, Report};

/// What an instance has reported about one copy.
#[derive(Debug, Default)]
pub(crate) struct Inflight {
    pub(super) status: Option<FileStatus>,
    pub(super) held: Option<(u64, Digest)>,
    pub(super) started: Option<u64>,
    /// Position up to which KMON may send.
    pub(super) credit: u64,
    /// Data that the copy's thread has not taken.
    pub(super) chunks: VecDeque<Vec<u8>>,
    /// Position after `chunks`.
    end: u64,
    /// Position up to which the instance may send.
    pub(super) allowed: u64,
    pub(super) digest: Option<Digest>,
    /// The last report: the failure with its reason, if there is one.
    pub(super) ending: Option<Result<(), (Failure, String)>>,
    /// The guestd that ran it is gone.
    pub(super) is_lost: bool,
}

impl Inflight {
    /// Notes a report. Data that the instance may not send are an error of the copy (X1).
    pub(crate) fn note(&mut self, report: Report<'_>) {
        if self.ending.is_some() {
            return;
        }
        match report {
            Report::Status(status) => self.status = Some(status),
            Report::Held { offset, digest } => self.held = Some((offset, digest)),
            Report::Started { .. } if self.started.is_some() => self.fail("it began twice"),
            Report::Started { offset } => {
                self.started = Some(offset);
                self.end = offset;
            }
            Report::Data { offset, .. } if offset != self.end || self.digest.is_some() => {
                self.fail("bytes are missing or repeated");
            }
            // The end of the bytes is a position, because they were decoded.
            Report::Data { offset, bytes } if offset + bytes.len() as u64 > self.allowed => {
                self.fail("it sent more than it may");
            }
            Report::Data { bytes, .. } => {
                self.end += bytes.len() as u64;
                // An empty one would wait here without a bound.
                if !bytes.is_empty() {
                    self.chunks.push_back(bytes.to_vec());
                }
            }
            Report::Credit { position } => self.credit = self.credit.max(position),
            Report::End { digest } => self.digest = Some(digest),
            Report::Done => self.ending = Some(Ok(())),
            Report::Failed { failure, reason } => self.ending = Some(Err((failure, reason))),
        }
    }

    /// Notes that guestd is gone.
    pub(crate) fn lose(&mut self) {
        self.is_lost |= self.ending.is_none();
    }

    fn fail(&mut self, what: &str) {
        let reason = format!("the instance does not follow the protocol: {what}");
        self.ending = Some(Err((Failure::Protocol, reason)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failure(inflight: &Inflight) -> Option<Failure> {
        let ending = inflight.ending.clone()?;
        ending.err().map(|(failure, _)| failure)
    }

    #[test]
    fn data_beyond_what_was_allowed_end_the_copy() {
        for (offset, bytes, failed) in [
            (4, &b"abcd"[..], None),
            (4, b"abcde", Some(Failure::Protocol)),
            (3, b"a", Some(Failure::Protocol)),
            (5, b"a", Some(Failure::Protocol)),
        ] {
            let mut inflight = Inflight {
                allowed: 8,
                ..Inflight::default()
            };
            inflight.note(Report::Started { offset: 4 });
            inflight.note(Report::Data { offset, bytes });
            assert_eq!(failure(&inflight), failed);
        }
    }

    proptest! {
        /// Whatever an instance reports, KMON keeps no more than it has allowed.
        #[test]
        fn no_instance_fills_the_memory(
            reports in prop::collection::vec((0_u8..8, 0_u64..40, 0_usize..30), 0..60),
            allowed in 0_u64..40,
        ) {
            let mut inflight = Inflight { allowed, ..Inflight::default() };
            for (kind, offset, len) in reports {
                let (digest, bytes) = ([0; 32], vec![0; len]);
                inflight.note(match kind {
                    0 => Report::Held { offset, digest },
                    1 => Report::Started { offset },
                    2 => Report::Credit { position: offset },
                    3 => Report::End { digest },
                    _ => Report::Data { offset, bytes: &bytes },
                });
            }
            let kept: usize = inflight.chunks.iter().map(Vec::len).sum();
            prop_assert!(kept as u64 <= allowed);
            prop_assert!(inflight.chunks.len() as u64 <= allowed);
        }
    }
}
