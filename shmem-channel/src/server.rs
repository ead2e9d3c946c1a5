//! The end of a channel that receives commands and answers them.

use core::time::Duration;

use crate::channel::Channel;
use crate::error::Error;
use crate::receiver::Received;

/// A call that is to be answered, once: [`Server::answer`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the client waits for the answer"]
pub struct Call {
    number: u32,
    /// The client's opening that made it.
    client: u16,
}

impl Call {
    /// It as one number, for a program that keeps it outside of Rust. Never 0.
    pub fn into_word(self) -> u64 {
        u64::from(self.client) << 32 | u64::from(self.number)
    }

    /// The call that [`Call::into_word`] made `word` of; `None` if it made no such word.
    pub fn from_word(word: u64) -> Option<Self> {
        let (client, number) = (u16::try_from(word >> 32).ok()?, word as u32);
        (number != 0).then_some(Self { number, client })
    }
}

/// What a server receives. The message is in the front of the buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A call: the client waits for its answer.
    Call {
        /// What to answer with.
        call: Call,
        /// Bytes of the message.
        len: usize,
    },
    /// A message that is not answered.
    Message {
        /// Bytes of it.
        len: usize,
    },
    /// The client was restarted: what follows is from its new incarnation. Commands of
    /// the earlier one that were not received are discarded. Reported once.
    PeerRestarted,
}

/// The end of a channel that answers commands.
pub struct Server<'m> {
    channel: Channel<'m>,
}

impl<'m> Server<'m> {
    pub(crate) fn new(channel: Channel<'m>) -> Self {
        Self { channel }
    }

    /// Bytes of the longest answer.
    pub fn max_len(&self) -> usize {
        self.channel.max_len()
    }

    /// Commands that were discarded at restarts of either end.
    pub fn discarded(&self) -> u32 {
        self.channel.discarded()
    }

    /// Whether the client is gone, or has left, after this server has met it.
    pub fn client_is_gone(&self) -> bool {
        self.channel.peer_is_gone()
    }

    /// Waits for a command up to `timeout`, copies it into the front of `buffer`, and
    /// releases it: it is not received again by a later incarnation of this server.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]; [`Error::BufferTooShort`]: the command stays;
    /// [`Error::NotAMessage`] if the client broke the protocol; [`Error::Evicted`],
    /// [`Error::Reformatted`], [`Error::Corrupt`].
    pub fn recv(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<Incoming, Error> {
        let mut wait = self.channel.waiter(timeout);
        loop {
            let (number, len) = match self.channel.peek()? {
                Some(Received::PeerRestarted) => return Ok(Incoming::PeerRestarted),
                Some(Received::Message(message)) => (message.header.call, message.read(buffer)?),
                None => {
                    self.channel.wait(&mut wait)?;
                    continue;
                }
            };
            self.channel.release()?;
            let client = self.channel.peer();
            return Ok(match number {
                0 => Incoming::Message { len },
                _ => Incoming::Call {
                    call: Call { number, client },
                    len,
                },
            });
        }
    }

    /// Answers `call`, and waits for room up to `timeout`.
    ///
    /// # Errors
    ///
    /// [`Error::CallerRestarted`] if the client that made the call was restarted since;
    /// otherwise as [`Client::send`](crate::Client::send).
    pub fn answer(&mut self, call: Call, answer: &[u8], timeout: Duration) -> Result<(), Error> {
        if call.client != self.channel.peer() {
            return Err(Error::CallerRestarted);
        }
        let mut wait = self.channel.waiter(timeout);
        self.channel.send(call.number, answer, &mut wait)
    }

    /// Sends a message that is no answer, and waits for room up to `timeout`.
    ///
    /// # Errors
    ///
    /// As [`Client::send`](crate::Client::send).
    pub fn send(&mut self, message: &[u8], timeout: Duration) -> Result<(), Error> {
        let mut wait = self.channel.waiter(timeout);
        self.channel.send(0, message, &mut wait)
    }
}
