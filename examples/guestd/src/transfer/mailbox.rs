//! What KMON has sent for one copy. The command loop fills it, and the copy's thread empties it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use kmon_protocol::file::FileError;
use kmon_protocol::transfer::{Digest, Failure, Request};

/// What KMON has sent for one copy.
#[derive(Default)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    start: Option<(u64, Digest)>,
    /// Bytes that the thread has not taken.
    data: Vec<u8>,
    /// Position after `data`.
    end: u64,
    /// Position up to which KMON may send.
    allowed: u64,
    /// Position up to which this end may send.
    credit: u64,
    finish: Option<Digest>,
    is_cancelled: bool,
    /// How KMON broke the protocol.
    fault: Option<&'static str>,
}

/// What a thread takes from its mailbox.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Data,
    /// There are no more data; the whole file has this digest.
    Finish(Digest),
}

impl Mailbox {
    /// Adds what KMON has sent. Never waits.
    pub(super) fn deliver(&self, request: &Request<'_>) {
        self.lock().note(request);
        self.changed.notify_all();
    }

    /// Ends the copy.
    pub(super) fn cancel(&self) {
        self.deliver(&Request::Cancel);
    }

    /// Returns true unless the copy is to end.
    pub(super) fn keeps_on(&self) -> bool {
        self.check().is_ok()
    }

    /// Returns why the copy is to end, if it is.
    pub(super) fn check(&self) -> Result<(), FileError> {
        self.lock().check()
    }

    /// Waits for the position at which the copy begins, and the digest of what precedes it.
    pub(super) fn wait_for_start(&self) -> Result<(u64, Digest), FileError> {
        self.wait(|state| state.start)
    }

    /// Allows KMON to send up to `position`.
    pub(super) fn allow(&self, position: u64) {
        self.lock().allowed = position;
    }

    /// Waits for data, and takes all of them in exchange for `empty`. Those that preceded the end of
    /// a copy are taken, too: a later copy need not send them again.
    pub(super) fn take(&self, empty: &mut Vec<u8>) -> Result<Taken, FileError> {
        empty.clear();
        let mut state = self.lock();
        loop {
            if !state.data.is_empty() && state.fault.is_none() {
                std::mem::swap(&mut state.data, empty);
                return Ok(Taken::Data);
            }
            state.check()?;
            if let Some(digest) = state.finish {
                return Ok(Taken::Finish(digest));
            }
            state = self.wait_for_change(state);
        }
    }

    /// Waits until this end may send beyond `position`. Returns up to where.
    pub(super) fn wait_for_credit(&self, position: u64) -> Result<u64, FileError> {
        self.wait(|state| (state.credit > position).then_some(state.credit))
    }

    fn wait<T>(&self, mut take: impl FnMut(&mut State) -> Option<T>) -> Result<T, FileError> {
        let mut state = self.lock();
        loop {
            state.check()?;
            if let Some(taken) = take(&mut state) {
                return Ok(taken);
            }
            state = self.wait_for_change(state);
        }
    }

    fn wait_for_change<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, request: &Request<'_>) {
        match *request {
            Request::Start { .. } if self.start.is_some() => {
                self.fault = Some("KMON has started the copy twice");
            }
            Request::Start { offset, digest } => {
                self.start = Some((offset, digest));
                self.end = offset;
            }
            Request::Data { offset, .. } if offset != self.end || self.finish.is_some() => {
                self.fault = Some("bytes of the file are missing or repeated");
            }
            // The end of the bytes is a position, because they were decoded.
            Request::Data { offset, bytes } if offset + bytes.len() as u64 > self.allowed => {
                self.fault = Some("KMON has sent more than it may");
            }
            Request::Data { bytes, .. } => {
                self.data.extend_from_slice(bytes);
                self.end += bytes.len() as u64;
            }
            Request::Finish { digest } => self.finish = Some(digest),
            Request::Credit { position } => self.credit = self.credit.max(position),
            Request::Cancel => self.is_cancelled = true,
            _ => self.fault = Some("KMON has begun another copy with the same number"),
        }
    }

    fn check(&self) -> Result<(), FileError> {
        match self.fault {
            _ if self.is_cancelled => Err(FileError::cancelled()),
            Some(fault) => Err(FileError {
                failure: Failure::Protocol,
                reason: fault.into(),
            }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: Digest = [3; 32];

    fn started() -> Mailbox {
        let mailbox = Mailbox::default();
        let (offset, digest) = (10, DIGEST);
        mailbox.deliver(&Request::Start { offset, digest });
        assert_eq!(mailbox.wait_for_start(), Ok((offset, digest)));
        mailbox.allow(14);
        mailbox
    }

    fn failure(mailbox: &Mailbox) -> Failure {
        mailbox.take(&mut Vec::new()).unwrap_err().failure
    }

    #[test]
    fn data_and_the_end_are_taken_in_their_order() {
        let mailbox = started();
        for (offset, bytes) in [(10, b"ab"), (12, b"cd")] {
            mailbox.deliver(&Request::Data { offset, bytes });
        }
        mailbox.deliver(&Request::Finish { digest: DIGEST });
        let mut data = b"old".to_vec();
        assert_eq!(mailbox.take(&mut data), Ok(Taken::Data));
        assert_eq!(data, b"abcd");
        assert_eq!(mailbox.take(&mut data), Ok(Taken::Finish(DIGEST)));
    }

    #[test]
    fn what_breaks_the_protocol_ends_the_copy() {
        for (offset, bytes) in [(11, &b"ab"[..]), (9, b"ab"), (10, b"abcde")] {
            let mailbox = started();
            mailbox.deliver(&Request::Data { offset, bytes });
            assert_eq!(failure(&mailbox), Failure::Protocol, "{offset}");
        }
        let mailbox = started();
        mailbox.deliver(&Request::Get { path: b"x" });
        assert!(!mailbox.keeps_on());
    }

    #[test]
    fn a_cancelled_copy_keeps_its_data_and_stops_all_waits() {
        let mailbox = started();
        let (offset, bytes) = (10, b"ab");
        mailbox.deliver(&Request::Data { offset, bytes });
        mailbox.cancel();
        let mut data = Vec::new();
        assert_eq!(mailbox.take(&mut data), Ok(Taken::Data));
        assert_eq!(data, b"ab");
        assert_eq!(failure(&mailbox), Failure::Cancelled);
        let credit = mailbox.wait_for_credit(0).unwrap_err();
        assert_eq!(credit.failure, Failure::Cancelled);
    }
}
