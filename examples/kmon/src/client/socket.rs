//! WebSockets, without a runtime.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tungstenite::{Error, Message, WebSocket};

use super::request::Client;
use crate::api::fault::Failure;

/// How long the server may take to accept a message, or to answer a close.
const PATIENCE: Duration = Duration::from_secs(5);

/// One end of a WebSocket.
pub(crate) struct Socket(WebSocket<UnixStream>);

/// What was received.
#[derive(Debug)]
pub(crate) enum Received<T> {
    Bytes(Vec<u8>),
    Value(T),
    /// Nothing within the time.
    Nothing,
    /// The server has closed the socket, or is gone.
    Closed,
}

impl Socket {
    /// Opens the WebSocket at `path`.
    pub(crate) fn open(client: &Client, path: &str) -> anyhow::Result<Self> {
        let stream = client.connect()?;
        let opened = tungstenite::client(format!("ws://kmon{path}"), stream);
        let (socket, _) = opened.map_err(|error| match error {
            tungstenite::HandshakeError::Failure(Error::Http(answer)) => {
                let body = answer.body().as_deref().unwrap_or_default();
                match serde_json::from_slice::<Failure>(body) {
                    Ok(failure) => failure.error.into(),
                    Err(_) => anyhow!("the server refused the request ({})", answer.status()),
                }
            }
            error => anyhow!("the connection to the server broke: {error}"),
        })?;
        socket.get_ref().set_nonblocking(true).context("socket")?;
        Ok(Self(socket))
    }

    /// Receives the next message, after waiting up to `timeout`.
    pub(crate) fn receive<T: DeserializeOwned>(
        &mut self,
        timeout: Duration,
    ) -> anyhow::Result<Received<T>> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.0.read() {
                Ok(Message::Binary(bytes)) => return Ok(Received::Bytes(bytes.into())),
                Ok(Message::Text(text)) => {
                    let value = serde_json::from_str(&text).context("the server's message")?;
                    return Ok(Received::Value(value));
                }
                Ok(Message::Close(_)) => return Ok(Received::Closed),
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if !self.wait(PollFlags::POLLIN, left) {
                        return Ok(Received::Nothing);
                    }
                }
                Err(_) => return Ok(Received::Closed),
            }
        }
    }

    pub(crate) fn send(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        self.write(Message::text(serde_json::to_string(value)?))
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.write(Message::binary(bytes.to_vec()))
    }

    /// Closes the socket, after the server has handled all messages.
    pub(crate) fn close(mut self) {
        // A server that is gone needs no close.
        let _ = self.write(Message::Close(None));
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.receive::<serde_json::Value>(PATIENCE) {
                Ok(Received::Closed) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    fn write(&mut self, message: Message) -> anyhow::Result<()> {
        let mut written = self.0.write(message);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if written.is_ok() {
                written = self.0.flush();
            }
            match written {
                Ok(()) => return Ok(()),
                // The message is kept, and is written by the next flush.
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if !self.wait(PollFlags::POLLOUT, left) {
                        bail!("the server does not answer");
                    }
                    written = self.0.flush();
                }
                Err(_) => bail!("the connection to the server broke"),
            }
        }
    }

    /// Waits until the socket is ready. Returns false at the time-out.
    fn wait(&self, flags: PollFlags, timeout: Duration) -> bool {
        // At least a millisecond, unless the caller does not wait.
        let timeout = match timeout {
            Duration::ZERO => PollTimeout::ZERO,
            timeout => (timeout + Duration::from_millis(1))
                .try_into()
                .unwrap_or(PollTimeout::MAX),
        };
        let mut ready = [PollFd::new(self.as_fd(), flags)];
        !matches!(poll(&mut ready, timeout), Ok(0))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
