//! The end of a channel that sends commands and receives results.
//!
//! Calls have numbers that count on (C5). Those that wait for an answer are the last
//! [`OUTSTANDING`] at most; answers to those given up before are passed over.

use core::time::Duration;

use crate::channel::Channel;
use crate::error::Error;
use crate::receiver::Received;
use crate::wait::Waiter;

/// Calls that may wait for an answer at the same time.
const OUTSTANDING: u32 = 64;

/// The opening of a server that comes first.
const FIRST: u16 = 1;

/// A call that was started: see [`Client::finish_call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the answer is received by `finish_call`"]
pub struct Answering {
    call: u32,
    /// The server's opening that the command is for.
    server: u16,
}

impl Answering {
    /// It as one number, for a program that keeps it outside of Rust. Never 0.
    pub fn to_word(self) -> u64 {
        u64::from(self.server) << 32 | u64::from(self.call)
    }

    /// The call that [`Answering::to_word`] made `word` of; `None` if it made no such word.
    pub fn from_word(word: u64) -> Option<Self> {
        let (server, call) = (u16::try_from(word >> 32).ok()?, word as u32);
        (call != 0).then_some(Self { call, server })
    }
}

/// The end of a channel that sends commands.
pub struct Client<'m> {
    channel: Channel<'m>,
    /// Those up to here are calls of earlier clients.
    earlier: u32,
    /// Number of the last call.
    last: u32,
    /// Bit `n`: call `last - n` was not answered yet.
    unanswered: u64,
}

impl<'m> Client<'m> {
    pub(crate) fn new(channel: Channel<'m>) -> Self {
        let earlier = channel.calls();
        Self {
            channel,
            earlier,
            last: earlier,
            unanswered: 0,
        }
    }

    /// Bytes of the longest command.
    pub fn max_len(&self) -> usize {
        self.channel.max_len()
    }

    /// Messages of a dead server that nobody received, and answers to calls that were
    /// given up, or that an earlier client made.
    pub fn discarded(&self) -> u32 {
        self.channel.discarded()
    }

    /// Whether the server is gone, or has left, after this client has met it.
    pub fn server_is_gone(&self) -> bool {
        self.channel.peer_is_gone()
    }

    /// Sends `command`, which is not answered, and waits for room up to `timeout`.
    ///
    /// A command that is sent before there is a server waits for the first one.
    ///
    /// # Errors
    ///
    /// [`Error::PeerRestarted`], once, if the server was restarted: nothing was sent.
    /// [`Error::MessageTooLong`]; [`Error::TimedOut`], or [`Error::PeerGone`] if nobody is
    /// left to make room; [`Error::Evicted`], [`Error::Reformatted`], [`Error::Corrupt`].
    pub fn send(&mut self, command: &[u8], timeout: Duration) -> Result<(), Error> {
        let mut wait = self.channel.waiter(timeout);
        self.channel.send(0, command, &mut wait)
    }

    /// Waits for a message of the server that is no answer, and copies it into the front
    /// of `buffer`. Answers to calls that were not finished are passed over.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]; [`Error::BufferTooShort`]: the message stays;
    /// [`Error::AnsweredTwice`], [`Error::NeverCalled`], [`Error::NotAMessage`] if the
    /// server broke the protocol; [`Error::Evicted`], [`Error::Reformatted`],
    /// [`Error::Corrupt`].
    pub fn recv(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<Received<usize>, Error> {
        let mut wait = self.channel.waiter(timeout);
        let mut passed_over = 0;
        loop {
            let call = match self.channel.peek()? {
                Some(Received::PeerRestarted) => return Ok(Received::PeerRestarted),
                Some(Received::Message(message)) if message.header.call == 0 => {
                    let len = message.read(buffer)?;
                    self.channel.release()?;
                    return Ok(Received::Message(len));
                }
                Some(Received::Message(message)) => message.header.call,
                None => {
                    self.channel.wait(&mut wait)?;
                    continue;
                }
            };
            self.pass_over(call, &mut passed_over, &mut wait)?;
        }
    }

    /// Sends `command`, waits for its answer, and copies that into the front of `answer`;
    /// returns the answer's length. All within `timeout`.
    ///
    /// # Errors
    ///
    /// As [`Client::send`] and [`Client::finish_call`]. After [`Error::TimedOut`] and
    /// [`Error::PeerGone`] the command may have been carried out or not.
    pub fn call(
        &mut self,
        command: &[u8],
        answer: &mut [u8],
        timeout: Duration,
    ) -> Result<usize, Error> {
        let mut wait = self.channel.waiter(timeout);
        let call = self.start(command, &mut wait)?;
        self.finish(call, answer, &mut wait)
    }

    /// The same for values without padding and pointers, whose bytes mean the same to
    /// both partitions.
    ///
    /// # Errors
    ///
    /// As [`Client::call`]; [`Error::NotAMessage`] if the answer has another size.
    pub fn call_typed<C: bytemuck::NoUninit, A: bytemuck::AnyBitPattern + bytemuck::NoUninit>(
        &mut self,
        command: &C,
        timeout: Duration,
    ) -> Result<A, Error> {
        let mut answer = A::zeroed();
        let room = bytemuck::bytes_of_mut(&mut answer);
        let whole = room.len();
        match self.call(bytemuck::bytes_of(command), room, timeout)? {
            len if len == whole => Ok(answer),
            len => Err(Error::NotAMessage { len }),
        }
    }

    /// Sends `command` as a call, without waiting for its answer.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub fn start_call(&mut self, command: &[u8], timeout: Duration) -> Result<Answering, Error> {
        let mut wait = self.channel.waiter(timeout);
        self.start(command, &mut wait)
    }

    fn start(&mut self, command: &[u8], wait: &mut Waiter<'m>) -> Result<Answering, Error> {
        // 0 is a message that is no call.
        let call = self.last.wrapping_add(1).max(1);
        self.channel.send(call, command, wait)?;
        self.last = call;
        self.unanswered = self.unanswered << 1 | 1;
        // Without a server, it is for the first one alone.
        let server = self.channel.peer().max(FIRST);
        Ok(Answering { call, server })
    }

    /// Waits up to `timeout` for the answer to `call`, and copies it into the front of
    /// `answer`; returns its length. Calls whose answers the server gave before this one and
    /// that are not finished are given up: their answers are passed over.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] and [`Error::MessageFirst`]: the call can be finished later.
    /// [`Error::BufferTooShort`]: the answer is given up. [`Error::PeerGone`] and
    /// [`Error::PeerRestarted`]: there will be no answer.
    /// [`Error::AnsweredTwice`], [`Error::NeverCalled`], [`Error::NotAMessage`] if the
    /// server broke the protocol; [`Error::Evicted`], [`Error::Reformatted`],
    /// [`Error::Corrupt`].
    pub fn finish_call(
        &mut self,
        call: Answering,
        answer: &mut [u8],
        timeout: Duration,
    ) -> Result<usize, Error> {
        let mut wait = self.channel.waiter(timeout);
        self.finish(call, answer, &mut wait)
    }

    fn finish(
        &mut self,
        call: Answering,
        answer: &mut [u8],
        wait: &mut Waiter<'m>,
    ) -> Result<usize, Error> {
        // A look after the one that showed the end finds what was answered before it.
        let mut over = None;
        let mut passed_over = 0;
        loop {
            let found = match self.channel.peek()? {
                Some(Received::PeerRestarted) => return Err(Error::PeerRestarted),
                Some(Received::Message(message)) if message.header.call == call.call => {
                    let len = message.read(answer);
                    self.channel.release()?;
                    self.take(call.call)?;
                    return len;
                }
                Some(Received::Message(message)) => Some(message.header.call),
                None => None,
            };
            match found {
                // The answer is to a later call, for another server.
                Some(_) if self.channel.peer() != call.server => return Err(Error::PeerRestarted),
                Some(0) => return Err(Error::MessageFirst),
                Some(other) => self.pass_over(other, &mut passed_over, wait)?,
                None => {
                    if let Some(error) = over {
                        return Err(error);
                    }
                    over = self.end_of(call);
                    if over.is_none() {
                        self.channel.wait(wait)?;
                    }
                }
            }
        }
    }

    /// Why `call` is never answered, if that is known.
    fn end_of(&mut self, call: Answering) -> Option<Error> {
        let server = match self.channel.next_peer() {
            Ok(server) => server,
            Err(error) => return Some(error),
        };
        if self.channel.peer() == 0 && server != 0 {
            self.channel.note_restart(server); // The first one that is met.
        }
        if server != 0 && server != call.server {
            return Some(Error::PeerRestarted); // Reported before; to this call, too.
        }
        self.channel.peer_is_gone().then_some(Error::PeerGone)
    }

    /// Passes over the answer that is next, to a call that was given up. A server that
    /// gives such without an end costs the time that there is: `count` says how many this
    /// call has passed over.
    fn pass_over(
        &mut self,
        call: u32,
        count: &mut u32,
        wait: &mut Waiter<'m>,
    ) -> Result<(), Error> {
        self.channel.release()?;
        self.take(call)?;
        self.channel.pass_over();
        *count += 1;
        match *count % OUTSTANDING == 0 && wait.is_over() {
            true => Err(Error::TimedOut),
            false => Ok(()),
        }
    }

    /// Takes note that `call` was answered.
    fn take(&mut self, call: u32) -> Result<(), Error> {
        if self.earlier.wrapping_sub(call) <= i32::MAX as u32 {
            return Ok(());
        }
        let age = self.last.wrapping_sub(call);
        if age > i32::MAX as u32 {
            return Err(Error::NeverCalled { call });
        }
        let bit = match age < OUTSTANDING {
            true => 1 << age,
            false => return Ok(()), // Too old to know.
        };
        if self.unanswered & bit == 0 {
            return Err(Error::AnsweredTwice { call });
        }
        self.unanswered &= !bit;
        Ok(())
    }
}
