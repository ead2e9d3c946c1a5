//! Receives a file, or the list of a directory, from an instance.

use std::collections::VecDeque;

use kmon_protocol::transfer::{Digest, Failure, FileStatus, Request};

use super::error::TransferError;
use super::stream::{Endpoint, Stream};

/// Bytes that the instance may send before they are taken.
const WINDOW: u64 = 2 << 20;

/// A file that is being received.
pub(crate) struct Get<'a> {
    stream: Stream<'a>,
    /// Data that have arrived.
    chunks: VecDeque<Vec<u8>>,
    /// Position after the bytes that were taken.
    position: u64,
    /// Position up to which the instance may send.
    allowed: u64,
    digest: Option<Digest>,
}

impl<'a> Get<'a> {
    /// Begins to receive the file `path`. Also returns its status.
    ///
    /// # Errors
    /// [`TransferError`] if it cannot be read.
    pub(crate) fn open(
        endpoint: &'a Endpoint,
        path: &[u8],
        stop: &'a dyn Fn() -> bool,
    ) -> Result<(Self, FileStatus), TransferError> {
        let get = Self::begin(endpoint, Request::Get { path }, stop)?;
        let status = get.stream.wait(|inflight| inflight.status.clone())?;
        Ok((get, status))
    }

    /// Begins to receive the list of the directory `path`.
    pub(super) fn open_list(
        endpoint: &'a Endpoint,
        path: &[u8],
        stop: &'a dyn Fn() -> bool,
    ) -> Result<Self, TransferError> {
        let mut get = Self::begin(endpoint, Request::List { path }, stop)?;
        get.allow()?;
        Ok(get)
    }

    fn begin(
        endpoint: &'a Endpoint,
        request: Request<'_>,
        stop: &'a dyn Fn() -> bool,
    ) -> Result<Self, TransferError> {
        Ok(Self {
            stream: Stream::begin(endpoint, request, stop)?,
            chunks: VecDeque::new(),
            position: 0,
            allowed: 0,
            digest: None,
        })
    }

    /// Sets where the data begin: after the first `offset` bytes, if those of the instance's file
    /// have this digest, else at 0. Returns where.
    ///
    /// # Errors
    /// [`TransferError`] if the copy has failed, or is to stop.
    pub(crate) fn start(&mut self, offset: u64, digest: Digest) -> Result<u64, TransferError> {
        self.stream.send(Request::Start { offset, digest })?;
        self.position = self.stream.wait(|inflight| inflight.started)?;
        if self.position != offset && self.position != 0 {
            let reason = "the instance does not follow the protocol: it began elsewhere";
            return Err(TransferError::new(Failure::Protocol, reason));
        }
        self.allow()?;
        Ok(self.position)
    }

    /// Allows the instance to send more.
    fn allow(&mut self) -> Result<(), TransferError> {
        let position = self.position.saturating_add(WINDOW);
        self.allowed = position;
        // Before the instance can know it (X1).
        self.stream.wait(|inflight| {
            inflight.allowed = position;
            Some(())
        })?;
        self.stream.send(Request::Credit { position })
    }

    /// Returns the next bytes; `None` after the last ones.
    ///
    /// # Errors
    /// [`TransferError`] if the copy has failed, or is to stop.
    pub(crate) fn read(&mut self) -> Result<Option<Vec<u8>>, TransferError> {
        if self.chunks.is_empty() && self.digest.is_none() {
            if self.allowed - self.position <= WINDOW * 3 / 4 {
                self.allow()?;
            }
            self.take_all()?;
        }
        let chunk = self.chunks.pop_front();
        self.position += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Ok(chunk)
    }

    /// Returns true if the next [`Get::read`] does not wait.
    pub(crate) fn has_more(&self) -> bool {
        !self.chunks.is_empty()
    }

    /// Waits for data or their end, and takes all that have arrived.
    fn take_all(&mut self) -> Result<(), TransferError> {
        let Self { stream, chunks, .. } = self;
        self.digest = stream.wait(|inflight| {
            std::mem::swap(chunks, &mut inflight.chunks);
            match (chunks.is_empty(), inflight.digest) {
                (false, _) => Some(None),
                (true, digest) => digest.map(Some),
            }
        })?;
        Ok(())
    }

    /// Returns the digest of the whole file, after its last bytes.
    ///
    /// # Errors
    /// [`TransferError`] if the copy has failed, or if bytes are left.
    pub(crate) fn finish(self) -> Result<Digest, TransferError> {
        self.stream
            .wait(|inflight| inflight.ending.as_ref().map(drop))?;
        self.digest.ok_or_else(|| {
            let reason = "the instance sent more than it announced";
            TransferError::new(Failure::Protocol, reason)
        })
    }
}
