//! The end of a channel that sends commands and receives results.
//!
//! Each call has the next number (C5). A second answer is detected for the last [`OUTSTANDING`]
//! calls only.

use core::time::Duration;

use shmem_core::call::{self as call_line, Found, MAX_LEN};

use crate::channel::{next_call, Channel, Header};
use crate::error::Error;
use crate::receiver::Received;
use crate::wait::Waiter;

/// The number of calls, up to the last one, for which a second answer is detected.
const OUTSTANDING: u32 = 64;

/// The epoch of the first server.
const FIRST: u16 = 1;

/// A call that was started, for [`Client::finish_call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the answer is received by `finish_call`"]
pub struct PendingCall {
    call: u32,
    /// The server's epoch that the command is for.
    server: u16,
}

impl PendingCall {
    /// Returns the call as one number, to keep it outside of Rust. The number is never 0.
    pub fn to_word(self) -> u64 {
        u64::from(self.server) << 32 | u64::from(self.call)
    }

    /// Converts a word from [`PendingCall::to_word`] back. Returns `None` if `to_word` never
    /// returns this word.
    pub fn from_word(word: u64) -> Option<Self> {
        let (server, call) = (u16::try_from(word >> 32).ok()?, word as u32);
        (call != 0).then_some(Self { call, server })
    }
}

/// The end of a channel that sends commands.
pub struct Client<'m> {
    channel: Channel<'m>,
    /// The number of the last call.
    last: u32,
    /// Calls that this client started. Earlier numbers are an earlier client's.
    started: u32,
    /// Bit `n`: call `last - n` is not answered yet.
    unanswered: u64,
    /// The call in the line that is not answered yet; 0: no call.
    in_line: u32,
    /// An answer to this call or a later one shows that the server has received everything that was
    /// sent on the ring.
    confirming_call: u32,
    /// The epoch of the server that gave this answer and reads the line; 0: no server (C6).
    line_epoch: u16,
}

impl<'m> Client<'m> {
    pub(crate) fn new(channel: Channel<'m>) -> Self {
        let last = channel.line.last_started();
        Self {
            channel,
            last,
            started: 0,
            unanswered: 0,
            in_line: 0,
            confirming_call: last,
            line_epoch: 0,
        }
    }

    /// Returns the length in bytes of the longest command.
    pub fn max_len(&self) -> usize {
        self.channel.max_len()
    }

    /// Returns the number of skipped messages, modulo 2^32: messages of dead servers, and answers
    /// to calls that were given up or that an earlier client made.
    pub fn discarded(&self) -> u32 {
        self.channel.discarded()
    }

    /// Returns true if the partition that has the server's end is gone, or if the server that this
    /// client exchanged messages with has left the channel.
    pub fn server_is_gone(&self) -> bool {
        self.channel.peer_is_gone()
    }

    /// Sends `command` as a message that expects no answer; waits for room up to `timeout`.
    ///
    /// A command that is sent before there is a server is kept for the first one.
    ///
    /// # Errors
    ///
    /// [`Error::PeerRestarted`], once, if the server was restarted: nothing was sent.
    /// [`Error::MessageTooLong`]. [`Error::TimedOut`] if there is no room in time, or
    /// [`Error::PeerGone`] if no server is left to make room. [`Error::Evicted`],
    /// [`Error::Reformatted`], [`Error::Corrupt`].
    pub fn send(&mut self, command: &[u8], timeout: Duration) -> Result<(), Error> {
        let mut wait = self.channel.waiter(timeout);
        self.send_by_ring(0, command, &mut wait)
    }

    /// Sends a message or a call on the ring.
    fn send_by_ring(
        &mut self,
        call: u32,
        command: &[u8],
        wait: &mut Waiter<'m>,
    ) -> Result<(), Error> {
        self.line_epoch = 0;
        self.confirming_call = next_call(self.last);
        self.channel.send(call, command, wait)
    }

    /// Waits for a message of the server that is not an answer, and copies it to the start of
    /// `buffer`. If the answer to an unfinished call is before the message on the ring, it is lost:
    /// [`Client::finish_call`] for that call then finds none, and times out.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]. [`Error::BufferTooShort`]: the message stays. [`Error::AnsweredTwice`],
    /// [`Error::NeverCalled`], [`Error::NotAMessage`] if the server broke the protocol.
    /// [`Error::Evicted`], [`Error::Reformatted`], [`Error::Corrupt`].
    pub fn recv(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<Received<usize>, Error> {
        let mut wait = self.channel.waiter(timeout);
        let mut skipped = 0;
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
            self.skip_answer(header, &mut skipped, &mut wait)?;
        }
    }

    /// Releases the next message without copying it: one that [`Client::recv`] returned
    /// [`Error::BufferTooShort`] for. Does nothing if there is no message now.
    ///
    /// # Errors
    ///
    /// Those of [`Client::recv`] except `TimedOut` and `BufferTooShort`. [`Error::PeerRestarted`]:
    /// nothing was released.
    pub fn skip(&mut self) -> Result<(), Error> {
        match self.channel.peek()? {
            Some(Received::PeerRestarted) => Err(Error::PeerRestarted),
            Some(Received::Message(message)) if message.header.call == 0 => self.channel.release(),
            // An answer is for `finish_call`.
            Some(Received::Message(_)) | None => Ok(()),
        }
    }

    /// Sends `command`, waits for its answer, and copies the answer to the start of `answer`.
    /// Returns the answer's length. `timeout` limits the whole call.
    ///
    /// # Errors
    ///
    /// Those of [`Client::send`] and [`Client::finish_call`]. The call cannot be finished later:
    /// after [`Error::MessageFirst`] the command was sent, but its answer is lost. To receive both,
    /// use [`Client::start_call`]. After [`Error::TimedOut`], [`Error::PeerGone`] or
    /// [`Error::AnswerLost`] it is unknown whether the server carried out the command.
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

    /// Makes a call with values instead of bytes. The types have no padding and no pointers, so
    /// that their bytes mean the same to both partitions.
    ///
    /// # Errors
    ///
    /// Those of [`Client::call`]. If the answer has another size: [`Error::NotAMessage`] if it is
    /// shorter, [`Error::BufferTooShort`] if it is longer.
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

    /// Sends `command` as a call, without waiting for the answer. Any number of calls can wait for
    /// their answers. A second answer to a call ([`Error::AnsweredTwice`]) is detected for the last
    /// 64 calls only.
    ///
    /// # Errors
    ///
    /// Those of [`Client::send`].
    pub fn start_call(&mut self, command: &[u8], timeout: Duration) -> Result<PendingCall, Error> {
        let mut wait = self.channel.waiter(timeout);
        self.start(command, &mut wait)
    }

    fn start(&mut self, command: &[u8], wait: &mut Waiter<'m>) -> Result<PendingCall, Error> {
        let call = next_call(self.last);
        let line = self.channel.line;
        // C6
        let by_line = self.line_epoch != 0
            && self.line_epoch == self.channel.next_peer_epoch()?
            && command.len() <= MAX_LEN
            && line.is_free();
        if by_line {
            line.ask(call, command);
        } else {
            line.start_elsewhere(call);
            self.send_by_ring(call, command, wait)?;
        }
        self.started = self.started.saturating_add(call.wrapping_sub(self.last));
        self.last = call;
        self.unanswered = self.unanswered << 1 | 1;
        if by_line {
            self.in_line = call;
            self.channel.notify()?;
        }
        // A call that is started before there is a server is for the first one only.
        let server = self.channel.peer_epoch().max(FIRST);
        Ok(PendingCall { call, server })
    }

    /// Waits up to `timeout` for the answer to `call`, and copies it to the start of `answer`.
    /// Returns the answer's length.
    ///
    /// This gives up the unfinished calls that the server answered on the ring before this one: the
    /// answers are lost, and `finish_call` for such a call later finds none, and times out.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] and [`Error::MessageFirst`]: the call can be finished later.
    /// [`Error::BufferTooShort`]: the answer is lost. [`Error::PeerGone`] and
    /// [`Error::AnswerLost`]: there will be no answer. [`Error::AnsweredTwice`],
    /// [`Error::NeverCalled`], [`Error::NotAMessage`] if the server broke the protocol.
    /// [`Error::Evicted`], [`Error::Reformatted`], [`Error::Corrupt`].
    pub fn finish_call(
        &mut self,
        call: PendingCall,
        answer: &mut [u8],
        timeout: Duration,
    ) -> Result<usize, Error> {
        let mut wait = self.channel.waiter(timeout);
        self.finish(call, answer, &mut wait)
    }

    fn finish(
        &mut self,
        call: PendingCall,
        answer: &mut [u8],
        wait: &mut Waiter<'m>,
    ) -> Result<usize, Error> {
        // Why there will be no answer. One more check follows, which finds an answer that was given
        // before the server's end.
        let mut end = None;
        let mut skipped = 0;
        loop {
            // Before the ring: so the next check of the ring finds what the server sent before its
            // answer.
            let answered = self.answer_len_in_line(call.call)?;
            let next = match self.channel.is_empty() {
                true => None,
                false => self.channel.peek()?,
            };
            let header = match next {
                Some(Received::PeerRestarted) => return Err(Error::AnswerLost),
                Some(Received::Message(message)) if message.header.call == call.call => {
                    let (header, len) = (message.header, message.read(answer));
                    self.channel.release()?;
                    self.note_answer(header)?;
                    return len;
                }
                Some(Received::Message(message)) => Some(message.header),
                None => None,
            };
            // The answer is to a later call, to another server.
            if header.is_some() && self.channel.peer_epoch() != call.server {
                return Err(Error::AnswerLost);
            }
            if header.is_some_and(|header| header.call == 0) {
                return Err(Error::MessageFirst);
            }
            if let Some(len) = answered {
                self.in_line = 0;
                self.mark_answered(call.call);
                let Some(answer) = answer.get_mut(..len) else {
                    return Err(Error::BufferTooShort { len });
                };
                self.channel.line.read_answer(answer);
                return Ok(len);
            }
            if let Some(header) = header {
                self.skip_answer(header, &mut skipped, wait)?;
            } else if let Some(error) = end {
                return Err(error);
            } else {
                // Asking the platform takes longer than an answer: only before a sleep.
                end = match wait.has_checks_left() {
                    true => None,
                    false => self.why_no_answer(call),
                };
                if end.is_none() {
                    self.wait_for_answer(call.call, wait)?;
                }
            }
        }
    }

    /// Returns the length of the answer to `call`, if the line holds it.
    fn answer_len_in_line(&mut self, call: u32) -> Result<Option<usize>, Error> {
        if self.in_line != call {
            return Ok(None);
        }
        match self.channel.line.find_answer(call) {
            Ok(Some(Found::Here(len))) => Ok(Some(len)),
            Ok(_) => Ok(None),
            Err(corrupt) => Err(Error::Corrupt(corrupt)),
        }
    }

    /// Waits for a part of `wait` for a message or an answer.
    fn wait_for_answer(&mut self, call: u32, wait: &mut Waiter<'m>) -> Result<(), Error> {
        let is_in_line = self.in_line == call;
        if is_in_line && !wait.has_checks_left() {
            self.channel.line.repeat_asked(call);
        }
        self.channel.wait(wait, |line| {
            is_in_line && !matches!(line.find_answer(call), Ok(None | Some(Found::Elsewhere)))
        })
    }

    /// Returns why there will be no answer to `call`, if that is known.
    fn why_no_answer(&mut self, call: PendingCall) -> Option<Error> {
        let server = match self.channel.next_peer_epoch() {
            Ok(server) => server,
            Err(Error::PeerRestarted) => return Some(Error::AnswerLost),
            Err(error) => return Some(error),
        };
        if self.channel.peer_epoch() == 0 && server != 0 {
            self.channel.note_restart(server); // The first one: no restart.
        }
        if server != 0 && server != call.server {
            return Some(Error::AnswerLost); // Reported to each call to the dead server.
        }
        self.channel.peer_is_gone().then_some(Error::PeerGone)
    }

    /// Skips the next answer, which is to a call that was given up. `count` counts those that this
    /// call skipped: a server that sends them without end is stopped by the deadline.
    fn skip_answer(
        &mut self,
        header: Header,
        count: &mut u32,
        wait: &mut Waiter<'m>,
    ) -> Result<(), Error> {
        self.channel.release()?;
        self.note_answer(header)?;
        self.channel.count_skipped();
        *count += 1;
        match *count % OUTSTANDING == 0 && wait.deadline_passed() {
            true => Err(Error::TimedOut),
            false => Ok(()),
        }
    }

    /// Notes an answer from the ring.
    fn note_answer(&mut self, header: Header) -> Result<(), Error> {
        let call = header.call;
        match self.last.wrapping_sub(call) {
            age if age > i32::MAX as u32 => return Err(Error::NeverCalled { call }),
            age if age >= self.started => return Ok(()),
            _ if !self.mark_answered(call) => return Err(Error::AnsweredTwice { call }),
            _ => {}
        }
        let confirms = call.wrapping_sub(self.confirming_call) as i32 >= 0;
        if confirms && header.reads_call_line && call_line::IS_COHERENT {
            self.line_epoch = self.channel.peer_epoch(); // C6
        }
        Ok(())
    }

    /// Marks `call` as answered. Returns false if it already was; a call that is too old to be
    /// known counts as not answered.
    fn mark_answered(&mut self, call: u32) -> bool {
        let bit = 1_u64.checked_shl(self.last.wrapping_sub(call)).unwrap_or(0);
        let is_first = bit == 0 || self.unanswered & bit != 0;
        self.unanswered &= !bit;
        is_first
    }
}
