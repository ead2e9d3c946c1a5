//! How the ends of a channel are opened.

use shmem_core::call::CallLine;
use shmem_core::ring::{OnRestart, Ring};
use shmem_registry::RequestError;

use crate::channel::Channel;
use crate::client::Client;
use crate::error::Error;
use crate::server::Server;
use crate::session::Session;

/// The default capacity of both rings.
const CAPACITY: usize = 16 << 10;

/// Bytes of the longest name of a channel: a suffix follows it in a segment's name.
const NAME: usize = 32 - COMMAND.len();

const COMMAND: &str = ".command";
const RESULT: &str = ".result";
const CALL: &str = ".call";

/// The name of one of a channel's segments.
struct SegmentName {
    bytes: [u8; NAME + COMMAND.len()],
    len: usize,
}

impl SegmentName {
    /// Joins `name`, of at most [`NAME`] bytes, and `suffix`.
    fn new(name: &[u8], suffix: &str) -> Self {
        let (mut bytes, len) = ([0; NAME + COMMAND.len()], name.len() + suffix.len());
        bytes[..name.len()].copy_from_slice(name);
        bytes[name.len()..len].copy_from_slice(suffix.as_bytes());
        Self { bytes, len }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The capacities of a channel's rings. Both ends must give the same ones.
#[derive(Clone, Copy, Debug)]
pub struct ChannelOptions {
    command: usize,
    result: usize,
}

impl Default for ChannelOptions {
    /// 16 KiB in each direction.
    fn default() -> Self {
        Self {
            command: CAPACITY,
            result: CAPACITY,
        }
    }
}

impl ChannelOptions {
    /// Sets the capacity in bytes of the ring from the client to the server: a power of two from 64
    /// to 1 GiB. The longest command is slightly shorter than half of it.
    #[must_use]
    pub fn command_capacity(self, bytes: usize) -> Self {
        let command = bytes;
        Self { command, ..self }
    }

    /// Sets the capacity in bytes of the ring from the server to the client, likewise.
    #[must_use]
    pub fn result_capacity(self, bytes: usize) -> Self {
        let result = bytes;
        Self { result, ..self }
    }

    /// Opens the end of channel `name` that sends commands. The first end that opens the channel
    /// creates it.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] if the name is empty, has more than 24 bytes or contains a zero byte.
    /// [`Error::Capacity`] if no ring can have one of the capacities. [`Error::Open`] if the
    /// channel exists with another capacity, or if there is no room for it. [`Error::EndTaken`] if
    /// a partition that is not known to be gone has this end. [`Error::Evicted`],
    /// [`Error::Reformatted`], [`Error::Corrupt`].
    pub fn client<'m>(
        self,
        session: &Session<'m>,
        name: impl AsRef<[u8]>,
    ) -> Result<Client<'m>, Error> {
        let (command, result, line) = self.segments(session, name.as_ref())?;
        let receiver = session.receiver_on(result, OnRestart::Keep)?;
        let sender = session.sender_on(command)?;
        Ok(Client::new(Channel::new(sender, receiver, line)))
    }

    /// Opens the end of channel `name` that answers commands. The first end that opens the channel
    /// creates it.
    ///
    /// # Errors
    ///
    /// Those of [`ChannelOptions::client`].
    pub fn server<'m>(
        self,
        session: &Session<'m>,
        name: impl AsRef<[u8]>,
    ) -> Result<Server<'m>, Error> {
        let (command, result, line) = self.segments(session, name.as_ref())?;
        let receiver = session.receiver_on(command, OnRestart::Discard)?;
        let sender = session.sender_on(result)?;
        Ok(Server::new(Channel::new(sender, receiver, line)))
    }

    /// Opens or creates both rings and the call line.
    fn segments<'m>(
        self,
        session: &Session<'m>,
        name: &[u8],
    ) -> Result<(Ring<'m>, Ring<'m>, CallLine<'m>), Error> {
        if name.is_empty() || name.len() > NAME {
            let len = name.len();
            return Err(Error::Name(RequestError::Name { len }));
        }
        let command = session.ring(SegmentName::new(name, COMMAND).as_bytes(), self.command)?;
        let result = session.ring(SegmentName::new(name, RESULT).as_bytes(), self.result)?;
        let line = session.call_line(SegmentName::new(name, CALL).as_bytes())?;
        Ok((command, result, line))
    }
}

impl<'m> Session<'m> {
    /// Opens the end of channel `name` that sends commands, with [`ChannelOptions::default`].
    ///
    /// # Errors
    ///
    /// Those of [`ChannelOptions::client`].
    pub fn client(&self, name: impl AsRef<[u8]>) -> Result<Client<'m>, Error> {
        ChannelOptions::default().client(self, name)
    }

    /// Opens the end of channel `name` that answers commands, with [`ChannelOptions::default`].
    ///
    /// # Errors
    ///
    /// Those of [`ChannelOptions::server`].
    pub fn server(&self, name: impl AsRef<[u8]>) -> Result<Server<'m>, Error> {
        ChannelOptions::default().server(self, name)
    }
}
