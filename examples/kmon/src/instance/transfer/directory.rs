//! Requests about directories and permissions.

use kmon_protocol::file::digest_of;
use kmon_protocol::transfer::{Entry, Failure, FileStatus, MAX_LIST, Request};

use super::error::TransferError;
use super::get::Get;
use super::stream::{Endpoint, Stream};

impl Endpoint {
    /// Returns what `path` is in the instance; links are followed.
    ///
    /// # Errors
    /// [`TransferError`] of kind `NotFound` if it does not exist; others.
    pub(crate) fn status(
        &self,
        path: &[u8],
        stop: &dyn Fn() -> bool,
    ) -> Result<FileStatus, TransferError> {
        let stream = Stream::begin(self, Request::Status { path }, stop)?;
        let status = stream.wait(|inflight| inflight.status.clone())?;
        stream.wait(|inflight| inflight.ending.as_ref().map(drop))?;
        Ok(status)
    }

    /// Returns the entries of the directory `path`. Each name is a single component.
    ///
    /// # Errors
    /// [`TransferError`] if it cannot be read.
    pub(crate) fn list(
        &self,
        path: &[u8],
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<Entry>, TransferError> {
        let protocol = |reason: String| TransferError::new(Failure::Protocol, reason);
        let mut get = Get::open_list(self, path, stop)?;
        let mut list = Vec::new();
        while let Some(chunk) = get.read()? {
            if list.len() + chunk.len() > MAX_LIST {
                return Err(protocol("the instance's list has no end".into()));
            }
            list.extend(chunk);
        }
        if get.finish()? != digest_of(&list) {
            return Err(protocol("the instance's list has another digest".into()));
        }
        Entry::decode_all(&list).map_err(|error| protocol(error.to_string()))
    }

    /// Makes the directory `path`, unless it exists.
    ///
    /// # Errors
    /// [`TransferError`] if it cannot be made.
    pub(crate) fn make_directory(
        &self,
        path: &[u8],
        mode: u32,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), TransferError> {
        self.carry_out(Request::MakeDirectory { path, mode }, stop)
    }

    /// Sets the permissions of `path`.
    ///
    /// # Errors
    /// [`TransferError`] if they cannot be set.
    pub(crate) fn set_mode(
        &self,
        path: &[u8],
        mode: u32,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), TransferError> {
        self.carry_out(Request::SetMode { path, mode }, stop)
    }

    fn carry_out(
        &self,
        request: Request<'_>,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), TransferError> {
        let stream = Stream::begin(self, request, stop)?;
        stream.wait(|inflight| inflight.ending.as_ref().map(drop))
    }
}
