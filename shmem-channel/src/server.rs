//! The end of a channel that receives commands and answers them.

use core::time::Duration;

use shmem_core::call::{self as call_line, MAX_LEN};

use crate::channel::{next_call, Channel};
use crate::error::Error;
use crate::receiver::Received;
use crate::wait::Waiter;

/// A call to be answered once, by [`Server::answer`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the client waits for the answer"]
pub struct Call {
    number: u32,
    /// The epoch of the client that made it.
    client: u16,
}

impl Call {
    /// Returns the call as one number, to keep it outside of Rust. The number is never 0.
    pub fn into_word(self) -> u64 {
        u64::from(self.client) << 32 | u64::from(self.number)
    }

    /// Converts a word from [`Call::into_word`] back. Returns `None` if `into_word` never returns
    /// this word.
    pub fn from_word(word: u64) -> Option<Self> {
        let (client, number) = (u16::try_from(word >> 32).ok()?, word as u32);
        (number != 0).then_some(Self { number, client })
    }
}

/// What [`Server::recv`] received: a call, a message, or the client's restart. The bytes of a call
/// or message are at the start of the buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A call: the client waits for its answer.
    Call {
        /// The call, for [`Server::answer`].
        call: Call,
        /// The length of its command in bytes.
        len: usize,
    },
    /// A message: the client expects no answer.
    Message {
        /// The length of the message in bytes.
        len: usize,
    },
    /// The client was restarted: what follows is from its new incarnation. Commands of the earlier
    /// one that were not received are discarded. Reported once.
    PeerRestarted,
}

/// The end of a channel that answers commands.
pub struct Server<'m> {
    channel: Channel<'m>,
    /// The epoch of the client whose messages follow.
    client_epoch: u16,
    /// The number of the client's next call, after it has made one on the ring (C6).
    next_call: Option<u32>,
    /// The client's call in the line that was received and is not answered yet; 0: no call.
    in_line: u32,
    /// The client's last call that was answered in the line; 0: no call.
    answered_in_line: u32,
}

impl<'m> Server<'m> {
    pub(crate) fn new(channel: Channel<'m>) -> Self {
        Self {
            channel,
            client_epoch: 0,
            next_call: None,
            in_line: 0,
            answered_in_line: 0,
        }
    }

    /// Returns the length in bytes of the longest answer.
    pub fn max_len(&self) -> usize {
        self.channel.max_len()
    }

    /// Returns the number of commands, modulo 2^32, that were discarded at restarts of either end.
    pub fn discarded(&self) -> u32 {
        self.channel.discarded()
    }

    /// Returns true if the partition that has the client's end is gone, or if the client that this
    /// server exchanged messages with has left the channel.
    pub fn client_is_gone(&self) -> bool {
        self.channel.peer_is_gone()
    }

    /// Waits for a command up to `timeout`, copies it to the start of `buffer`, and releases it: no
    /// later incarnation of this server receives it again.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]. [`Error::BufferTooShort`]: the command stays. [`Error::NotAMessage`] if
    /// the client broke the protocol. [`Error::Evicted`], [`Error::Reformatted`],
    /// [`Error::Corrupt`].
    pub fn recv(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<Incoming, Error> {
        let mut wait = self.channel.waiter(timeout);
        loop {
            self.note_client();
            // The ring is checked before the line: so a call in the line is found before a message
            // that was sent on the ring after it.
            let is_empty = self.channel.is_empty();
            if let Some(incoming) = self.receive_from_line(buffer)? {
                return Ok(incoming);
            }
            if is_empty {
                self.wait(&mut wait)?;
                continue;
            }
            let (number, len) = match self.channel.peek()? {
                Some(Received::PeerRestarted) => return Ok(Incoming::PeerRestarted),
                Some(Received::Message(message)) => (message.header.call, message.read(buffer)?),
                None => {
                    self.wait(&mut wait)?;
                    continue;
                }
            };
            return Ok(match self.take_from_ring(number)? {
                None => Incoming::Message { len },
                Some(call) => Incoming::Call { call, len },
            });
        }
    }

    /// Releases the next command without copying it: one that [`Server::recv`] returned
    /// [`Error::BufferTooShort`] for. Returns the call that it makes, which can be answered. Does
    /// nothing if there is no command now.
    ///
    /// # Errors
    ///
    /// Those of [`Server::recv`] except `TimedOut` and `BufferTooShort`. [`Error::PeerRestarted`]:
    /// nothing was released.
    pub fn skip(&mut self) -> Result<Option<Call>, Error> {
        self.note_client();
        if let Some(number) = self.next_in_line()?.map(|(number, _)| number) {
            return Ok(Some(self.take_from_line(number, &mut [])));
        }
        let number = match self.channel.peek()? {
            None => return Ok(None),
            Some(Received::PeerRestarted) => return Err(Error::PeerRestarted),
            Some(Received::Message(message)) => message.header.call,
        };
        self.take_from_ring(number)
    }

    /// Releases the next message of the ring, which makes call `number`, if it makes one.
    fn take_from_ring(&mut self, number: u32) -> Result<Option<Call>, Error> {
        self.channel.release()?;
        self.note_client();
        if number == 0 {
            return Ok(None);
        }
        self.free_line(); // C7
        self.next_call = Some(next_call(number));
        let client = self.client_epoch;
        Ok(Some(Call { number, client }))
    }

    /// Waits for a part of `wait` for a message, or for the next call in the line.
    fn wait(&mut self, wait: &mut Waiter<'_>) -> Result<(), Error> {
        // The late store of an evicted server may have overwritten an answer.
        if self.answered_in_line != 0 && !wait.has_checks_left() {
            self.channel.line.repeat_answered(self.answered_in_line);
        }
        let next = self.next_call.filter(|_| call_line::IS_COHERENT);
        self.channel.wait(wait, |line| {
            next.is_some_and(|next| !matches!(line.command_len(next), Ok(None)))
        })
    }

    /// Returns the number of the next call, and the length of its command, if the line holds it.
    fn next_in_line(&self) -> Result<Option<(u32, usize)>, Error> {
        let Some(number) = self.next_call.filter(|_| call_line::IS_COHERENT) else {
            return Ok(None);
        };
        let len = self
            .channel
            .line
            .command_len(number)
            .map_err(Error::Corrupt)?;
        Ok(len.map(|len| (number, len)))
    }

    /// Receives the start of the command of call `number`, which the line holds.
    fn take_from_line(&mut self, number: u32, command: &mut [u8]) -> Call {
        self.channel.line.receive(number, command);
        self.next_call = Some(next_call(number));
        self.in_line = number;
        let client = self.client_epoch;
        Call { number, client }
    }

    /// Receives the next call, if the line holds it.
    fn receive_from_line(&mut self, buffer: &mut [u8]) -> Result<Option<Incoming>, Error> {
        let Some((number, len)) = self.next_in_line()? else {
            return Ok(None);
        };
        match self.channel.next_peer_epoch() {
            Ok(_) => {}
            Err(Error::PeerRestarted) => return Ok(Some(Incoming::PeerRestarted)),
            Err(error) => return Err(error),
        }
        let buffer = buffer.get_mut(..len);
        let buffer = buffer.ok_or(Error::BufferTooShort { len })?;
        let call = self.take_from_line(number, buffer);
        Ok(Some(Incoming::Call { call, len }))
    }

    /// Notes a new client. Its first call uses the ring, and calls of the client before it are not
    /// answered (C4).
    fn note_client(&mut self) {
        let client = self.channel.peer_epoch();
        if client != self.client_epoch {
            self.client_epoch = client;
            self.free_line();
            self.next_call = None;
        }
    }

    /// Frees the line. A call there that was received and is not answered yet is answered on the
    /// ring. One that was not received was for an earlier server, or by an earlier client.
    fn free_line(&mut self) {
        self.in_line = 0;
        self.answered_in_line = 0;
        let lost = self.channel.line.discard();
        // Another number is the late store of an evicted client.
        if lost.is_some_and(|lost| self.next_call.unwrap_or(lost) == lost) {
            self.channel.count_skipped();
        }
    }

    /// Answers `call`, and waits for room up to `timeout`.
    ///
    /// # Errors
    ///
    /// [`Error::CallerRestarted`] if the client that made the call was restarted since; otherwise
    /// those of [`Client::send`](crate::Client::send). After [`Error::TimedOut`] or
    /// [`Error::PeerGone`] nothing was sent. To be able to try again, get the call's word from
    /// [`Call::into_word`], and give [`Call::from_word`] of it to each attempt.
    pub fn answer(&mut self, call: Call, answer: &[u8], timeout: Duration) -> Result<(), Error> {
        if call.client != self.channel.peer_epoch() {
            return Err(Error::CallerRestarted);
        }
        let Call { number, .. } = call;
        let is_in_line = self.in_line == number;
        if is_in_line && answer.len() <= MAX_LEN {
            self.channel.next_peer_epoch()?;
            self.in_line = 0;
            self.answered_in_line = number;
            self.channel.line.answer(number, answer);
            return self.channel.notify();
        }
        let mut wait = self.channel.waiter(timeout);
        self.channel.send(number, answer, &mut wait)?;
        if is_in_line {
            self.free_line(); // C7
        }
        Ok(())
    }

    /// Sends a message that is not an answer, and waits for room up to `timeout`.
    ///
    /// # Errors
    ///
    /// Those of [`Client::send`](crate::Client::send).
    pub fn send(&mut self, message: &[u8], timeout: Duration) -> Result<(), Error> {
        let mut wait = self.channel.waiter(timeout);
        self.channel.send(0, message, &mut wait)
    }
}
