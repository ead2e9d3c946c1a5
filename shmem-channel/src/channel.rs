//! What both ends of a channel share: messages, and the peer's restarts.
//!
//! A channel `name` is two rings: `name.command`, from the client to the server, and
//! `name.result`, back. Each end opens its receiving ring first. A message is a record
//! that begins with 8 bytes:
//!
//! | offset | bytes | content, little-endian                                          |
//! |--------|-------|-----------------------------------------------------------------|
//! | 0      | 2     | the *opening* of its sender: the epoch of the sender's receiving end |
//! | 2      | 2     | 0                                                               |
//! | 4      | 4     | number of the call that it makes or answers; 0 for a plain message |
//!
//! - **C1** An opening identifies one opening of an end. The peer learns it in two ways:
//!   from what it receives, and, when it sends, from the ring itself. So a restart that
//!   was noticed in one direction is not reported again in the other.
//! - **C2** A restart is reported only to an end that had sent something to the earlier
//!   opening, or received something from it.
//! - **C3** After a restart was reported, no message of an earlier opening is delivered:
//!   such messages are passed over and counted.
//! - **C4** Commands that a restarted server had not received are discarded by the ring.
//!   Results stay until they are received, or passed over by C3.

use core::time::Duration;

use shmem_core::ring::Unread;

use crate::client::Client;
use crate::error::Error;
use crate::receiver::{Received, Receiver, Record};
use crate::sender::Sender;
use crate::server::Server;
use crate::session::Session;
use crate::wait::Waiter;

/// Bytes before a message's own.
const HEADER: usize = 8;

/// The capacity of both rings by default.
const CAPACITY: usize = 16 << 10;

/// Longest name of a channel: what its rings add fits into a segment's name.
const NAME: usize = 32 - COMMAND.len();

/// The most messages of earlier openings that one look passes over. One that has passed
/// over so many finds nothing, and the next one goes on.
const PASSES: u32 = 64;

/// Restarts of a peer that was not met which one call passes over.
const RESTARTS: u32 = 3;

const COMMAND: &str = ".command";
const RESULT: &str = ".result";

/// The capacities of a channel's rings. Both ends say the same.
#[derive(Clone, Copy, Debug)]
pub struct ChannelOptions {
    command: usize,
    result: usize,
}

impl Default for ChannelOptions {
    /// 16 KiB each way.
    fn default() -> Self {
        Self {
            command: CAPACITY,
            result: CAPACITY,
        }
    }
}

impl ChannelOptions {
    /// Bytes of the ring from the client to the server: a power of two from 64. The
    /// longest command is somewhat shorter than half of it.
    #[must_use]
    pub fn command_capacity(self, bytes: usize) -> Self {
        let command = bytes;
        Self { command, ..self }
    }

    /// Bytes of the ring from the server to the client.
    #[must_use]
    pub fn result_capacity(self, bytes: usize) -> Self {
        let result = bytes;
        Self { result, ..self }
    }

    /// Opens the end of channel `name` that sends commands. Whoever comes first creates
    /// the channel.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] if the name has more than 24 bytes; [`Error::Open`] if the channel
    /// is there with another capacity, or there is no room for it; [`Error::EndTaken`] if
    /// a living partition has this end.
    pub fn client<'s>(
        self,
        session: &'s Session<'_>,
        name: impl AsRef<[u8]>,
    ) -> Result<Client<'s>, Error> {
        let (command, result) = self.rings(session, name.as_ref())?;
        let receiver = Receiver::open(session, result, Unread::Keep)?;
        let sender = Sender::open(session, command)?;
        Ok(Client::new(Channel::new(sender, receiver)))
    }

    /// Opens the end of channel `name` that answers commands.
    ///
    /// # Errors
    ///
    /// As [`ChannelOptions::client`].
    pub fn server<'s>(
        self,
        session: &'s Session<'_>,
        name: impl AsRef<[u8]>,
    ) -> Result<Server<'s>, Error> {
        let (command, result) = self.rings(session, name.as_ref())?;
        let receiver = Receiver::open(session, command, Unread::Discard)?;
        let sender = Sender::open(session, result)?;
        Ok(Server::new(Channel::new(sender, receiver)))
    }

    fn rings<'s>(
        self,
        session: &'s Session<'_>,
        name: &[u8],
    ) -> Result<(shmem_core::ring::Ring<'s>, shmem_core::ring::Ring<'s>), Error> {
        let mut full = [0; NAME + COMMAND.len()];
        let mut ring = |end: &str, capacity| {
            let whole = full.get_mut(..name.len() + end.len());
            let Some(whole) = whole.filter(|_| !name.is_empty() && name.len() <= NAME) else {
                let len = name.len();
                return Err(Error::Name(shmem_registry::RequestError::Name { len }));
            };
            whole[..name.len()].copy_from_slice(name);
            whole[name.len()..].copy_from_slice(end.as_bytes());
            session.ring(whole, capacity)
        };
        Ok((ring(COMMAND, self.command)?, ring(RESULT, self.result)?))
    }
}

/// What comes before a message's own bytes.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    opening: u16,
    pub(crate) call: u32,
}

impl Header {
    fn encode(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..2].copy_from_slice(&self.opening.to_le_bytes());
        bytes[4..].copy_from_slice(&self.call.to_le_bytes());
        bytes
    }

    /// The header of `record`, read once; `None` if it has none.
    fn decode(record: Record<'_>) -> Option<Self> {
        let mut bytes = [0; HEADER];
        let whole = record.read(0, &mut bytes) == HEADER;
        let header = Self {
            opening: u16::from_le_bytes([bytes[0], bytes[1]]),
            call: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        (whole && header.opening != 0).then_some(header)
    }
}

/// A message that is next, in place.
pub(crate) struct Message<'c> {
    pub(crate) header: Header,
    record: Record<'c>,
}

impl Message<'_> {
    pub(crate) fn len(&self) -> usize {
        self.record.len().saturating_sub(HEADER)
    }

    /// Copies it into the front of `buffer`; returns its length.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let len = self.len();
        match buffer.get_mut(..len) {
            Some(buffer) => Ok(self.record.read(HEADER, buffer)),
            None => Err(Error::BufferTooShort { len }),
        }
    }
}

/// One end of a channel.
pub(crate) struct Channel<'s> {
    sender: Sender<'s>,
    receiver: Receiver<'s>,
    /// Our own opening, for what we send.
    opening: u16,
    /// The peer's opening that we have met; 0 before that (C2).
    peer: u16,
    /// Messages that were passed over.
    passed_over: u32,
}

impl<'s> Channel<'s> {
    fn new(sender: Sender<'s>, receiver: Receiver<'s>) -> Self {
        Self {
            opening: receiver.epoch() as u16,
            peer: 0,
            passed_over: 0,
            sender,
            receiver,
        }
    }

    /// Bytes of the longest message that this end can send.
    pub(crate) fn max_len(&self) -> usize {
        self.sender.max_len() - HEADER
    }

    /// The peer's opening that the last message went to, or came from.
    pub(crate) fn peer(&self) -> u16 {
        self.peer
    }

    /// The peer's opening that the next message is for; 0 if there is none yet.
    ///
    /// # Errors
    ///
    /// [`Error::PeerRestarted`] if this is a restart to be reported.
    pub(crate) fn next_peer(&mut self) -> Result<u16, Error> {
        let opening = match self.sender.note_receiver() {
            // Noted. What it is, the next look says.
            Err(Error::PeerRestarted) => self.sender.note_receiver()?,
            noted => noted?,
        } as u16;
        match self.peer != 0 && opening != 0 && self.note_restart(opening) {
            true => Err(Error::PeerRestarted),
            false => Ok(opening),
        }
    }

    /// Messages that nobody received: those discarded at restarts, and passed over.
    pub(crate) fn discarded(&self) -> u32 {
        self.receiver.discarded().wrapping_add(self.passed_over)
    }

    /// Whether the peer is gone, or has left the channel, after this end has met it.
    pub(crate) fn peer_is_gone(&self) -> bool {
        match self.sender.peer() {
            Some(peer) => crate::sender::is_over(self.sender.session(), peer),
            None => self.peer != 0,
        }
    }

    /// Sends a message, and waits for room up to `timeout`.
    pub(crate) fn send(
        &mut self,
        call: u32,
        message: &[u8],
        timeout: Duration,
    ) -> Result<(), Error> {
        let opening = self.opening;
        let header = Header { opening, call }.encode();
        for _ in 0..RESTARTS {
            let peer = self.next_peer()?;
            match self.sender.send_parts([&header, message], timeout) {
                Ok(()) => {
                    if peer != 0 {
                        self.peer = peer;
                    }
                    return Ok(());
                }
                Err(Error::PeerRestarted) => {} // One that was not met, perhaps (C2).
                Err(Error::MessageTooLong { len, max }) => {
                    let (len, max) = (len - HEADER, max - HEADER);
                    return Err(Error::MessageTooLong { len, max });
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::PeerRestarted)
    }

    /// Takes note that the peer's opening is `opening` now. Whether this is a restart to
    /// be reported (C1, C2).
    pub(crate) fn note_restart(&mut self, opening: u16) -> bool {
        let known = core::mem::replace(&mut self.peer, opening);
        known != 0 && known != opening
    }

    /// The next message, or the peer's restart; `None` if there is neither. A message
    /// stays the next until [`Channel::release`].
    pub(crate) fn peek(&mut self) -> Result<Option<Received<Message<'_>>>, Error> {
        for _ in 0..PASSES {
            let header = match self.receiver.peek()? {
                None => return Ok(None),
                // What was sent after it says whose it is.
                Some(Received::PeerRestarted) => continue,
                Some(Received::Message(record)) => {
                    let len = record.len();
                    let Some(header) = Header::decode(record) else {
                        self.receiver.release()?;
                        return Err(Error::NotAMessage { len });
                    };
                    header
                }
            };
            let ahead = header.opening.wrapping_sub(self.peer) as i16;
            if self.peer != 0 && ahead < 0 {
                self.release()?; // C3
                self.pass_over();
                continue;
            }
            if self.note_restart(header.opening) {
                return Ok(Some(Received::PeerRestarted));
            }
            // Looked at again: a mad peer can mix one header with another's bytes, which it
            // could have sent so in the first place.
            return match self.receiver.peek()? {
                Some(Received::Message(record)) => {
                    Ok(Some(Received::Message(Message { header, record })))
                }
                _ => Ok(None),
            };
        }
        Ok(None)
    }

    /// Counts a message that nobody receives.
    pub(crate) fn pass_over(&mut self) {
        self.passed_over = self.passed_over.wrapping_add(1);
    }

    /// Gives the message that was peeked last back.
    pub(crate) fn release(&mut self) -> Result<(), Error> {
        self.receiver.release()
    }

    /// Waits for a part of `wait`; an error if it is over.
    pub(crate) fn wait(&mut self, wait: &mut Waiter<'_>) -> Result<(), Error> {
        if wait.is_over() {
            return Err(Error::TimedOut);
        }
        self.receiver.wait(&mut wait.slice());
        Ok(())
    }

    pub(crate) fn waiter(&self, timeout: Duration) -> Waiter<'s> {
        self.receiver.waiter(timeout)
    }
}
