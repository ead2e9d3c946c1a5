//! The end of a channel that sends commands and receives results.
//!
//! Calls have numbers that count on (C5). Those that wait for an answer are the last
//! [`OUTSTANDING`] at most; answers to those given up before are passed over.

use core::time::Duration;

use shmem_core::call::{self as call_line, Found, MAX_LEN};

use crate::channel::{next_call, Channel, Header};
use crate::error::Error;
use crate::receiver::Received;
use crate::wait::Waiter;

/// Calls that may wait for an answer at the same time.
const OUTSTANDING: u32 = 64;

/// The epoch of a server that comes first.
const FIRST: u16 = 1;

/// A call that was started: see [`Client::finish_call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the answer is received by `finish_call`"]
pub struct Answering {
    call: u32,
    /// The server's epoch that the command is for.
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
    /// Number of the last call.
    last: u32,
    /// The last so many numbers are this client's; those before are of earlier clients.
    own: u32,
    /// Bit `n`: call `last - n` was not answered yet.
    unanswered: u64,
    /// The call in the line that was not answered yet; 0: no call.
    in_line: u32,
    /// The answer to a call from this one on says that the server has received all that was
    /// sent by the ring.
    receipt: u32,
    /// The server's epoch that gave this answer and looks at the line; 0: no server (C6).
    by_line: u16,
}

impl<'m> Client<'m> {
    pub(crate) fn new(channel: Channel<'m>) -> Self {
        let last = channel.line.last_started();
        Self {
            channel,
            last,
            own: 0,
            unanswered: 0,
            in_line: 0,
            receipt: last,
            by_line: 0,
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
        self.send_by_ring(0, command, &mut wait)
    }

    /// Sends a message, or makes a call, by the ring.
    fn send_by_ring(
        &mut self,
        call: u32,
        command: &[u8],
        wait: &mut Waiter<'m>,
    ) -> Result<(), Error> {
        self.by_line = 0;
        self.receipt = next_call(self.last);
        self.channel.send(call, command, wait)
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
            let header = match self.channel.peek()? {
                Some(Received::PeerRestarted) => return Ok(Received::PeerRestarted),
                Some(Received::Message(message)) if message.header.call == 0 => {
                    let len = message.read(buffer)?;
                    self.channel.release()?;
                    return Ok(Received::Message(len));
                }
                Some(Received::Message(message)) => message.header,
                None => {
                    self.channel.wait(&mut wait, |_| false)?;
                    continue;
                }
            };
            self.pass_over(header, &mut passed_over, &mut wait)?;
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
        let call = next_call(self.last);
        let line = self.channel.line;
        // C6
        let by_line = self.by_line != 0
            && self.by_line == self.channel.next_peer()?
            && command.len() <= MAX_LEN
            && line.is_free();
        if by_line {
            line.ask(call, command);
        } else {
            line.start_elsewhere(call);
            self.send_by_ring(call, command, wait)?;
        }
        self.own = self.own.saturating_add(call.wrapping_sub(self.last));
        self.last = call;
        self.unanswered = self.unanswered << 1 | 1;
        if by_line {
            self.in_line = call;
            self.channel.notify()?;
        }
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
            // Before the ring: what the server sent before its answer is found there.
            let answered = self.answered_in_line(call.call)?;
            let next = match self.channel.is_empty() {
                true => None,
                false => self.channel.peek()?,
            };
            let header = match next {
                Some(Received::PeerRestarted) => return Err(Error::PeerRestarted),
                Some(Received::Message(message)) if message.header.call == call.call => {
                    let (header, len) = (message.header, message.read(answer));
                    self.channel.release()?;
                    self.take(header)?;
                    return len;
                }
                Some(Received::Message(message)) => Some(message.header),
                None => None,
            };
            // The answer is to a later call, for another server.
            if header.is_some() && self.channel.peer() != call.server {
                return Err(Error::PeerRestarted);
            }
            if header.is_some_and(|header| header.call == 0) {
                return Err(Error::MessageFirst);
            }
            if let Some(len) = answered {
                self.in_line = 0;
                self.answered(call.call);
                let Some(answer) = answer.get_mut(..len) else {
                    return Err(Error::BufferTooShort { len });
                };
                self.channel.line.read_answer(answer);
                return Ok(len);
            }
            if let Some(header) = header {
                self.pass_over(header, &mut passed_over, wait)?;
            } else if let Some(error) = over {
                return Err(error);
            } else {
                // To ask whether the server lives takes longer than an answer.
                over = match wait.has_looks() {
                    true => None,
                    false => self.end_of(call),
                };
                if over.is_none() {
                    self.wait_for_answer(call.call, wait)?;
                }
            }
        }
    }

    /// How long the answer to `call` is, if it lies in the line.
    fn answered_in_line(&mut self, call: u32) -> Result<Option<usize>, Error> {
        if self.in_line != call {
            return Ok(None);
        }
        match self.channel.line.answered(call) {
            Ok(Some(Found::Here(len))) => Ok(Some(len)),
            Ok(_) => Ok(None),
            Err(corrupt) => Err(Error::Corrupt(corrupt)),
        }
    }

    /// Waits for a part of `wait` for what the server says.
    fn wait_for_answer(&mut self, call: u32, wait: &mut Waiter<'m>) -> Result<(), Error> {
        let is_in_line = self.in_line == call;
        if is_in_line && !wait.has_looks() {
            self.channel.line.repeat_asked(call);
        }
        self.channel.wait(wait, |line| {
            is_in_line && !matches!(line.answered(call), Ok(None | Some(Found::Elsewhere)))
        })
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
        header: Header,
        count: &mut u32,
        wait: &mut Waiter<'m>,
    ) -> Result<(), Error> {
        self.channel.release()?;
        self.take(header)?;
        self.channel.pass_over();
        *count += 1;
        match *count % OUTSTANDING == 0 && wait.is_past() {
            true => Err(Error::TimedOut),
            false => Ok(()),
        }
    }

    /// Takes note of an answer from the ring.
    fn take(&mut self, header: Header) -> Result<(), Error> {
        let call = header.call;
        match self.last.wrapping_sub(call) {
            age if age > i32::MAX as u32 => return Err(Error::NeverCalled { call }),
            age if age >= self.own => return Ok(()),
            _ if !self.answered(call) => return Err(Error::AnsweredTwice { call }),
            _ => {}
        }
        let is_receipt = call.wrapping_sub(self.receipt) as i32 >= 0;
        if is_receipt && header.looks_at_line && call_line::USABLE {
            self.by_line = self.channel.peer(); // C6
        }
        Ok(())
    }

    /// Takes note that `call` was answered; false if it was before. One that is too old to know
    /// was not.
    fn answered(&mut self, call: u32) -> bool {
        let bit = 1_u64.checked_shl(self.last.wrapping_sub(call)).unwrap_or(0);
        let was_not = bit == 0 || self.unanswered & bit != 0;
        self.unanswered &= !bit;
        was_not
    }
}
