//! Sends a file to an instance.

use kmon_protocol::transfer::{Digest, Request};

use super::error::TransferError;
use super::stream::{Endpoint, Stream};

/// Bytes that are sent at once: few threads are woken, and the outbox stays short.
const BATCH: usize = 64 << 10;

/// The file to send.
pub(crate) struct PutFile<'a> {
    /// Its path in the instance; a relative one begins at the home directory.
    pub(crate) path: &'a [u8],
    pub(crate) size: u64,
    /// Permissions, at most `0o7777`.
    pub(crate) mode: u32,
    /// Identifies this version of the file: a copy of the same one can be continued.
    pub(crate) source: Digest,
}

/// A file that is being sent. Without [`Put::finish`], what has arrived is kept for a later copy.
pub(crate) struct Put<'a> {
    stream: Stream<'a>,
    position: u64,
    /// Position up to which the instance has room.
    credit: u64,
}

impl<'a> Put<'a> {
    /// Begins to send `file`. Also returns how many bytes of it the instance has, and their digest.
    ///
    /// # Errors
    /// [`TransferError`] if the instance refuses it.
    pub(crate) fn open(
        endpoint: &'a Endpoint,
        file: &PutFile<'_>,
        stop: &'a dyn Fn() -> bool,
    ) -> Result<(Self, (u64, Digest)), TransferError> {
        let request = Request::Put {
            path: file.path,
            size: file.size,
            mode: file.mode,
            source: file.source,
        };
        let stream = Stream::begin(endpoint, request, stop)?;
        let held = stream.wait(|inflight| inflight.held)?;
        let put = Self {
            stream,
            position: 0,
            credit: 0,
        };
        Ok((put, held))
    }

    /// Sets where the data begin: at 0, or after the bytes that the instance has.
    ///
    /// # Errors
    /// [`TransferError`] if the copy has failed.
    pub(crate) fn start(&mut self, offset: u64) -> Result<(), TransferError> {
        self.position = offset;
        let digest = Digest::default(); // The instance knows it.
        self.stream.send(Request::Start { offset, digest })
    }

    /// Sends `bytes`, and waits until the instance has room for them.
    ///
    /// # Errors
    /// [`TransferError`] if the copy has failed, or is to stop.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), TransferError> {
        while !bytes.is_empty() {
            if self.credit <= self.position {
                let position = self.position;
                self.credit = self
                    .stream
                    .wait(|inflight| (inflight.credit > position).then_some(inflight.credit))?;
            }
            let room = usize::try_from(self.credit - self.position).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room).min(BATCH));
            self.stream.send_data(self.position, now)?;
            self.position += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Ends the file, whose digest is `digest`, and waits until it has its name and is stored.
    ///
    /// # Errors
    /// [`TransferError`] if the copy has failed; then the target is as it was before.
    pub(crate) fn finish(self, digest: Digest) -> Result<(), TransferError> {
        self.stream.send(Request::Finish { digest })?;
        self.stream
            .wait(|inflight| inflight.ending.as_ref().map(drop))
    }
}
