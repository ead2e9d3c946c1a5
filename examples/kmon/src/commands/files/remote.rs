//! The files of an instance, through the server.

use std::time::{Duration, Instant};

use kmon_protocol::transfer::{Digest, Entry, Failure, FileStatus, is_component};

use crate::api::files::{
    Answer, Bytes, Held, Hex, MAX_PIECE, Path, PathMode, PutFile, Request, WINDOW, Whole,
};
use crate::client::{Client, Received, Socket};
use crate::instance::transfer::TransferError;
use crate::interrupt::Interrupt;

/// How long the server may take to end a copy that is cancelled.
const CANCEL_TIME: Duration = Duration::from_secs(5);

type Result<T> = std::result::Result<T, TransferError>;

/// The files of an instance.
pub(super) struct Remote<'a> {
    socket: Socket,
    stop: &'a dyn Fn() -> bool,
}

impl<'a> Remote<'a> {
    /// Opens a connection for the files of instance `number`. What waits ends when `stop` returns
    /// true.
    pub(super) fn open(
        client: &Client,
        number: u8,
        stop: &'a dyn Fn() -> bool,
    ) -> anyhow::Result<Self> {
        let path = format!("/v1/instances/{number}/files");
        let socket = Socket::open(client, &path)?;
        Ok(Self { socket, stop })
    }

    /// Returns what `path` is; links are followed.
    pub(super) fn status(&mut self, path: &[u8]) -> Result<FileStatus> {
        self.ask(&Request::Status(at(path)))?;
        let status = self.await_status()?;
        self.await_done()?;
        Ok(status)
    }

    /// Returns the entries of the directory `path`. Each name is a single component.
    pub(super) fn list(&mut self, path: &[u8]) -> Result<Vec<Entry>> {
        self.ask(&Request::List(at(path)))?;
        let mut list = Vec::new();
        loop {
            match self.answer()? {
                Received::Value(Answer::Entries(entries)) => list.extend(entries),
                Received::Value(Answer::Done(_)) => break,
                _ => return Err(unexpected()),
            }
        }
        let entries = list.into_iter().map(|entry| Entry {
            kind: entry.kind.into(),
            name: entry.name.as_bytes().to_vec(),
        });
        let entries: Vec<_> = entries.collect();
        match entries.iter().all(|entry| is_component(&entry.name)) {
            true => Ok(entries),
            false => Err(unexpected()),
        }
    }

    /// Makes the directory `path`, unless it exists.
    pub(super) fn make_directory(&mut self, path: &[u8], mode: u32) -> Result<()> {
        let path = Bytes::from(path);
        self.ask(&Request::MakeDirectory(PathMode { path, mode }))?;
        self.await_done()
    }

    /// Sets the permissions of `path`.
    pub(super) fn set_mode(&mut self, path: &[u8], mode: u32) -> Result<()> {
        let path = Bytes::from(path);
        self.ask(&Request::SetMode(PathMode { path, mode }))?;
        self.await_done()
    }

    /// Begins to send a file with `status` to `path`. Also returns how many bytes of it the
    /// instance has, and their digest.
    pub(super) fn put(
        &mut self,
        path: &[u8],
        status: &FileStatus,
    ) -> Result<(Put<'_, 'a>, (u64, Digest))> {
        self.ask(&Request::Put(PutFile {
            path: Bytes::from(path),
            size: status.size,
            mode: status.mode,
            source: Hex(status.source),
        }))?;
        let Received::Value(Answer::Held(held)) = self.answer()? else {
            return Err(unexpected());
        };
        let put = Put {
            remote: self,
            sent: 0,
            taken: 0,
        };
        Ok((put, (held.offset, held.digest.0)))
    }

    /// Begins to receive the file `path`. Also returns its status.
    pub(super) fn get(&mut self, path: &[u8]) -> Result<(Get<'_, 'a>, FileStatus)> {
        self.ask(&Request::Get(at(path)))?;
        let status = self.await_status()?;
        let get = Get {
            remote: self,
            digest: None,
        };
        Ok((get, status))
    }

    fn ask(&mut self, request: &Request) -> Result<()> {
        self.socket.send(request).map_err(|error| broken(&error))
    }

    fn await_status(&mut self) -> Result<FileStatus> {
        match self.answer()? {
            Received::Value(Answer::Status(status)) => Ok(status.into()),
            _ => Err(unexpected()),
        }
    }

    fn await_done(&mut self) -> Result<()> {
        match self.answer()? {
            Received::Value(Answer::Done(_)) => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Waits for the server's next message.
    fn answer(&mut self) -> Result<Received<Answer>> {
        loop {
            match self.receive(Interrupt::POLL_INTERVAL)? {
                Received::Nothing => {}
                received => return Ok(received),
            }
            if (self.stop)() {
                self.cancel();
                return Err(TransferError::new(Failure::Cancelled, "interrupted"));
            }
        }
    }

    /// Returns the server's next message, after waiting up to `timeout`. A failure is an error.
    fn receive(&mut self, timeout: Duration) -> Result<Received<Answer>> {
        let received = self.socket.receive(timeout);
        match received.map_err(|error| broken(&error))? {
            Received::Value(Answer::Failed(failed)) => {
                Err(TransferError::new(failed.failure.into(), failed.message))
            }
            Received::Value(Answer::Error(fault)) => {
                Err(TransferError::new(Failure::Protocol, fault.message))
            }
            Received::Closed => Err(broken(&"the connection to the server broke")),
            received => Ok(received),
        }
    }

    /// Cancels the copy, and waits for its end, so that a repeated copy does not meet this one.
    pub(super) fn cancel(&mut self) {
        let deadline = Instant::now() + CANCEL_TIME;
        let mut left = self.ask(&Request::Cancel(true)).is_ok();
        while left && Instant::now() < deadline {
            left = self.receive(Interrupt::POLL_INTERVAL).is_ok();
        }
    }
}

/// A file that is being sent.
pub(super) struct Put<'r, 'a> {
    remote: &'r mut Remote<'a>,
    /// Bytes that were sent, and that the server has taken.
    sent: u64,
    taken: u64,
}

impl Put<'_, '_> {
    /// Sets where the data begin: at 0, or after the bytes that the instance has.
    pub(super) fn start(&mut self, offset: u64) -> Result<()> {
        // The instance knows the digest.
        let digest = Hex(Digest::default());
        self.remote.ask(&Request::Start(Held { offset, digest }))
    }

    /// Sends `bytes`.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(MAX_PIECE) {
            while let Received::Value(answer) = self.remote.receive(Duration::ZERO)? {
                self.note(&answer)?;
            }
            while self.sent - self.taken + piece.len() as u64 > WINDOW {
                let Received::Value(answer) = self.remote.answer()? else {
                    return Err(unexpected());
                };
                self.note(&answer)?;
            }
            let sent = self.remote.socket.send_bytes(piece);
            sent.map_err(|error| broken(&error))?;
            self.sent += piece.len() as u64;
        }
        Ok(())
    }

    fn note(&mut self, answer: &Answer) -> Result<()> {
        match answer {
            Answer::Taken(taken) if *taken <= self.sent => {
                self.taken = *taken;
                Ok(())
            }
            _ => Err(unexpected()),
        }
    }

    /// Ends the file, whose digest is `digest`, and waits until it has its name and is stored.
    pub(super) fn finish(mut self, digest: Digest) -> Result<()> {
        let digest = Hex(digest);
        self.remote.ask(&Request::Finish(Whole { digest }))?;
        loop {
            match self.remote.answer()? {
                Received::Value(Answer::Done(_)) => return Ok(()),
                Received::Value(answer) => self.note(&answer)?,
                _ => return Err(unexpected()),
            }
        }
    }
}

/// A file that is being received.
pub(super) struct Get<'r, 'a> {
    remote: &'r mut Remote<'a>,
    digest: Option<Digest>,
}

impl Get<'_, '_> {
    /// Sets where the data begin: after the first `offset` bytes, if those of the instance's file
    /// have this digest, else at 0. Returns where.
    pub(super) fn start(&mut self, offset: u64, digest: Digest) -> Result<u64> {
        let digest = Hex(digest);
        self.remote.ask(&Request::Start(Held { offset, digest }))?;
        match self.remote.answer()? {
            Received::Value(Answer::Started(started)) if started == offset || started == 0 => {
                Ok(started)
            }
            _ => Err(unexpected()),
        }
    }

    /// Returns the next bytes; `None` after the last ones.
    pub(super) fn read(&mut self) -> Result<Option<Vec<u8>>> {
        match self.remote.answer()? {
            Received::Bytes(bytes) => Ok(Some(bytes)),
            Received::Value(Answer::End(whole)) => {
                self.digest = Some(whole.digest.0);
                Ok(None)
            }
            _ => Err(unexpected()),
        }
    }

    /// Returns the digest of the whole file, after its last bytes.
    pub(super) fn finish(self) -> Result<Digest> {
        self.remote.await_done()?;
        self.digest.ok_or_else(unexpected)
    }
}

fn at(path: &[u8]) -> Path {
    Path {
        path: Bytes::from(path),
    }
}

fn broken(error: &dyn std::fmt::Display) -> TransferError {
    TransferError::new(Failure::Other, error.to_string())
}

fn unexpected() -> TransferError {
    let reason = "the server does not follow the API";
    TransferError::new(Failure::Protocol, reason)
}
