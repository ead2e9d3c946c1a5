//! The connection of a console.

use std::time::Duration;

use anyhow::bail;

use crate::api::console::{FromClient, FromServer, Mode, Open, Start};
use crate::client::{Client, Received, Socket};
use crate::terminal;

/// How long the server may take to open a console.
const OPEN_TIME: Duration = Duration::from_secs(10);

/// The console that an operator wants.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) number: u8,
    pub(crate) mode: Mode,
    pub(crate) force: bool,
    pub(crate) from: Start,
}

/// An open console.
pub(super) struct Link {
    pub(super) socket: Socket,
    /// The position after the last byte that was received; `None` if those bytes have none.
    position: Option<u64>,
}

/// What was received.
pub(super) enum Incoming {
    /// Output, and the position after it.
    Output(Vec<u8>, Option<u64>),
    Message(FromServer),
    Nothing,
    Closed,
}

/// Returns the greeting of the paper for instance `number`.
pub(super) fn greeting(number: u8) -> String {
    format!("## #kmconsole done, cmd_redirection={number}## #")
}

impl Link {
    /// Opens a console, with the size of this terminal.
    pub(super) fn open(client: &Client, wanted: &Wanted) -> anyhow::Result<Self> {
        let path = format!("/v1/instances/{}/console", wanted.number);
        let mut socket = Socket::open(client, &path)?;
        let (rows, columns) = terminal::size().unzip();
        socket.send(&Open {
            mode: wanted.mode,
            force: wanted.force,
            rows,
            columns,
            from: wanted.from,
        })?;
        match socket.receive(OPEN_TIME)? {
            Received::Value(FromServer::Opened(_)) => {}
            Received::Value(FromServer::Error(fault)) => return Err(fault.into()),
            _ => bail!("the server does not answer"),
        }
        Ok(Self {
            socket,
            position: None,
        })
    }

    /// Receives what comes next, after waiting up to `timeout`.
    pub(super) fn receive(&mut self, timeout: Duration) -> anyhow::Result<Incoming> {
        Ok(match self.socket.receive(timeout)? {
            Received::Bytes(bytes) => {
                if let Some(position) = &mut self.position {
                    *position += bytes.len() as u64;
                }
                Incoming::Output(bytes, self.position)
            }
            Received::Value(message) => {
                match message {
                    FromServer::At(position) => self.position = Some(position),
                    FromServer::Missed(_) | FromServer::Skipped(_) => self.position = None,
                    _ => {}
                }
                Incoming::Message(message)
            }
            Received::Nothing => Incoming::Nothing,
            Received::Closed => Incoming::Closed,
        })
    }

    pub(super) fn position(&self) -> Option<u64> {
        self.position
    }

    /// Sends a message. If the server is gone, [`Link::receive`] reports it.
    pub(super) fn send(&mut self, message: &FromClient) {
        let _ = self.socket.send(message);
    }

    /// Sends typed bytes, as [`Link::send`].
    pub(super) fn type_bytes(&mut self, keys: &[u8]) {
        let _ = self.socket.send_bytes(keys);
    }
}
