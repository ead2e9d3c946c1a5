//! What both ends of a channel share: messages, and the peer's restarts.
//!
//! A channel `name` is two rings, `name.command`, from the client to the server, and
//! `name.result`, back, and the call line `name.call`. Each end opens its receiving ring
//! first. A message is a record that begins with 8 bytes:
//!
//! | offset | bytes | content, little-endian                                          |
//! |--------|-------|-----------------------------------------------------------------|
//! | 0      | 2     | the *epoch* of the sender's receiving end                           |
//! | 2      | 2     | bit 0: its sender looks at the call line                        |
//! | 4      | 4     | number of the call that it makes or answers; 0 for a plain message |
//!
//! - **C1** An epoch identifies one claim of an end. The peer learns it in two ways:
//!   from what it receives, and, when it sends, from the ring itself. So a restart that
//!   was noticed in one direction is not reported again in the other.
//! - **C2** A restart is reported only to an end that had sent something to the earlier
//!   epoch, or received something from it.
//! - **C3** After a restart was reported, no message of an earlier epoch is delivered:
//!   such messages are passed over and counted.
//! - **C4** Commands that a restarted server had not received are discarded by the ring and
//!   counted, and so is one in the call line. Results stay until they are received, or passed over
//!   by C3 and C5.
//! - **C5** No two calls on a channel have the same number, modulo 2^32: a client counts by
//!   one from the last one that was started, which the call line tells. So an answer to an
//!   earlier client is known, passed over and counted.
//! - **C6** A short command goes by the line if that is free, the server looks there, and all
//!   that was sent by the ring before is known to be received: by the answer to a call that
//!   was made after it. So the call in the line comes before everything in the ring, and the
//!   first call to a server goes by the ring. Its answer tells the server's epoch.
//! - **C7** A call that was made by the line is answered there, unless the answer is too long or
//!   another call comes by the ring first: then it is answered by the ring, and the line is
//!   freed. So a call that is never answered does not keep the line.

use core::time::Duration;

use shmem_core::call::{self as call_line, CallLine};

use crate::error::Error;
use crate::receiver::{Received, Receiver, Record};
use crate::sender::Sender;
use crate::wait::Waiter;

/// Bytes before a message's own.
const HEADER: usize = 8;

/// The most messages of earlier epochs that one look passes over. One that has passed
/// over so many finds nothing, and the next one goes on.
const PASSES: u32 = 64;

/// Restarts of a peer that was not met which one call passes over.
const RESTARTS: u32 = 3;

/// The number of the call after `call`: 0 is a message that is no call.
pub(crate) fn next_call(call: u32) -> u32 {
    call.wrapping_add(1).max(1)
}

/// What comes before a message's own bytes.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    epoch: u16,
    /// Whether its sender looks at the call line.
    pub(crate) looks_at_line: bool,
    pub(crate) call: u32,
}

impl Header {
    fn encode(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..2].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[2] = self.looks_at_line.into();
        bytes[4..].copy_from_slice(&self.call.to_le_bytes());
        bytes
    }

    /// The header of `record`, read once; `None` if it has none.
    fn decode(record: Record<'_>) -> Option<Self> {
        let mut bytes = [0; HEADER];
        let whole = record.read(0, &mut bytes) == HEADER;
        let header = Self {
            epoch: u16::from_le_bytes([bytes[0], bytes[1]]),
            looks_at_line: bytes[2] & 1 != 0,
            call: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        (whole && header.epoch != 0).then_some(header)
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
pub(crate) struct Channel<'m> {
    sender: Sender<'m>,
    receiver: Receiver<'m>,
    pub(crate) line: CallLine<'m>,
    /// Our own epoch, for what we send.
    epoch: u16,
    /// The peer's epoch that we have met; 0 before that (C2).
    peer: u16,
    /// Messages that were passed over.
    passed_over: u32,
}

impl<'m> Channel<'m> {
    pub(crate) fn new(sender: Sender<'m>, receiver: Receiver<'m>, line: CallLine<'m>) -> Self {
        Self {
            line,
            epoch: receiver.epoch() as u16,
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

    /// The peer's epoch that the last message went to, or came from.
    pub(crate) fn peer(&self) -> u16 {
        self.peer
    }

    /// The peer's epoch that the next message is for; 0 if there is none yet.
    ///
    /// # Errors
    ///
    /// [`Error::PeerRestarted`] if this is a restart to be reported.
    pub(crate) fn next_peer(&mut self) -> Result<u16, Error> {
        let epoch = match self.sender.note_receiver() {
            // Noted. What it is, the next look says.
            Err(Error::PeerRestarted) => self.sender.note_receiver()?,
            noted => noted?,
        } as u16;
        match self.peer != 0 && epoch != 0 && self.note_restart(epoch) {
            true => Err(Error::PeerRestarted),
            false => Ok(epoch),
        }
    }

    /// Messages that nobody received: those discarded at restarts, and passed over.
    pub(crate) fn discarded(&self) -> u32 {
        self.receiver.discarded().wrapping_add(self.passed_over)
    }

    /// Whether the peer is gone, or has left the channel, after this end has met it.
    pub(crate) fn peer_is_gone(&self) -> bool {
        match self.sender.peer() {
            Some(peer) => self.sender.member.is_over(peer),
            None => self.peer != 0,
        }
    }

    /// Sends a message, and waits for room.
    pub(crate) fn send(
        &mut self,
        call: u32,
        message: &[u8],
        wait: &mut Waiter<'m>,
    ) -> Result<(), Error> {
        let header = Header {
            epoch: self.epoch,
            looks_at_line: call_line::USABLE,
            call,
        };
        let header = header.encode();
        for _ in 0..RESTARTS {
            let peer = self.next_peer()?;
            match self.sender.send_parts([&header, message], wait) {
                Ok(()) => {
                    if peer != 0 {
                        self.peer = peer;
                    }
                    return Ok(());
                }
                Err(Error::PeerRestarted) => {} // One that was not met, perhaps (C2).
                Err(Error::MessageTooLong { max }) => {
                    let max = max - HEADER;
                    return Err(Error::MessageTooLong { max });
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::PeerRestarted)
    }

    /// Takes note that the peer's epoch is `epoch` now. Whether this is a restart to
    /// be reported (C1, C2).
    pub(crate) fn note_restart(&mut self, epoch: u16) -> bool {
        let known = core::mem::replace(&mut self.peer, epoch);
        known != 0 && known != epoch
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
            let ahead = header.epoch.wrapping_sub(self.peer) as i16;
            if self.peer != 0 && ahead < 0 {
                self.release()?; // C3
                self.pass_over();
                continue;
            }
            if self.note_restart(header.epoch) {
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

    /// Wakes the peer for what was stored in the call line.
    pub(crate) fn notify(&mut self) -> Result<(), Error> {
        self.sender.notify()
    }

    /// Whether the ring has nothing to receive or to report now.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.receiver.is_empty()
    }

    /// Waits for a part of `wait`, for a message or until `other` says true; an error if it is
    /// over.
    pub(crate) fn wait(
        &mut self,
        wait: &mut Waiter<'_>,
        other: impl FnMut(&CallLine<'m>) -> bool,
    ) -> Result<(), Error> {
        if wait.is_over() {
            return Err(Error::TimedOut);
        }
        if !wait.has_looks() {
            self.sender.check_region()?;
        }
        let (line, mut other) = (self.line, other);
        self.receiver.wait_part(wait, || other(&line));
        Ok(())
    }

    pub(crate) fn waiter(&self, timeout: Duration) -> Waiter<'m> {
        self.receiver.waiter(timeout)
    }
}
