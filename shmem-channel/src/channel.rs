//! The common part of both ends of a channel: messages, and restarts of the peer.
//!
//! A channel `name` is two rings and a call line: `name.command`, from the client to the server,
//! `name.result`, back, and `name.call`. Each end opens its receiving ring first. A message is a
//! record that begins with 8 bytes:
//!
//! | offset | bytes | content, little-endian                                             |
//! |--------|-------|--------------------------------------------------------------------|
//! | 0      | 2     | the *epoch* of the sender's receiving end                          |
//! | 2      | 2     | bit 0: the sender reads the call line                              |
//! | 4      | 4     | number of the call that it makes or answers; 0 for a plain message |
//!
//! - **C1** An epoch identifies one claim of an end. The peer learns it from each message that it
//!   receives and, when it sends, from the ring. So a restart that was noticed in one direction is
//!   not reported again in the other.
//! - **C2** A restart is reported only to an end that has sent something to the earlier epoch, or
//!   has received something from it.
//! - **C3** After a restart was reported, no message of an earlier epoch is delivered: such
//!   messages are skipped and counted.
//! - **C4** Commands that a restarted server had not received are discarded and counted: on the
//!   ring, and in the call line. Results stay until they are received, or skipped by C3 or C5.
//! - **C5** No two calls on a channel have the same number, modulo 2^32: a client continues from
//!   the number of the last call that was started, which the call line holds. So an answer to an
//!   earlier client's call is recognised, skipped and counted.
//! - **C6** A short command uses the call line under three conditions: the line is free, the server
//!   reads it, and the server has received everything that was sent on the ring before. An answer
//!   shows the third condition if its call was made after everything that was sent on the ring. So
//!   a call in the line is older than everything in the ring, and the first call to a server uses
//!   the ring; its answer shows the server's epoch.
//! - **C7** A call in the line is answered there, with two exceptions: the answer is too long, or
//!   another call arrives on the ring first. Then it is answered on the ring, and the line is
//!   freed. So a call that is never answered does not occupy the line.

use core::time::Duration;

use shmem_core::call::{self as call_line, CallLine};

use crate::error::Error;
use crate::receiver::{Received, Receiver, Record};
use crate::sender::Sender;
use crate::wait::Waiter;

/// Bytes of a message's header.
const HEADER: usize = 8;

/// The most messages of earlier epochs that one call of [`Channel::peek`] skips. After that many it
/// returns nothing, and the next call continues.
const MAX_SKIPS: u32 = 64;

/// The most restarts of an unknown peer (C2) that one send ignores.
const MAX_RESTARTS: u32 = 3;

/// Returns the number of the call after `call`. It is never 0: that is a message without a call.
pub(crate) fn next_call(call: u32) -> u32 {
    call.wrapping_add(1).max(1)
}

/// The header of a message.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    epoch: u16,
    /// Whether the sender reads the call line.
    pub(crate) reads_call_line: bool,
    pub(crate) call: u32,
}

impl Header {
    fn encode(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..2].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[2] = self.reads_call_line.into();
        bytes[4..].copy_from_slice(&self.call.to_le_bytes());
        bytes
    }

    /// Returns the header of `record`, read once; `None` if it has none.
    fn decode(record: Record<'_>) -> Option<Self> {
        let mut bytes = [0; HEADER];
        let whole = record.read(0, &mut bytes) == HEADER;
        let header = Self {
            epoch: u16::from_le_bytes([bytes[0], bytes[1]]),
            reads_call_line: bytes[2] & 1 != 0,
            call: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        (whole && header.epoch != 0).then_some(header)
    }
}

/// The next message, in place.
pub(crate) struct Message<'c> {
    pub(crate) header: Header,
    record: Record<'c>,
}

impl Message<'_> {
    pub(crate) fn len(&self) -> usize {
        self.record.len().saturating_sub(HEADER)
    }

    /// Copies the message to the start of `buffer`; returns its length.
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
    /// The epoch of our receiving end, for what we send.
    epoch: u16,
    /// The last epoch of the peer that we sent to or received from; 0: none (C2).
    peer_epoch: u16,
    /// Messages that were skipped.
    skipped: u32,
}

impl<'m> Channel<'m> {
    pub(crate) fn new(sender: Sender<'m>, receiver: Receiver<'m>, line: CallLine<'m>) -> Self {
        Self {
            line,
            epoch: receiver.epoch() as u16,
            peer_epoch: 0,
            skipped: 0,
            sender,
            receiver,
        }
    }

    /// Returns the length in bytes of the longest message that this end can send.
    pub(crate) fn max_len(&self) -> usize {
        self.sender.max_len() - HEADER
    }

    /// Returns the peer's epoch that the last message went to, or came from.
    pub(crate) fn peer_epoch(&self) -> u16 {
        self.peer_epoch
    }

    /// Returns the peer's epoch that the next message is for; 0 if no peer has opened its end.
    ///
    /// # Errors
    ///
    /// [`Error::PeerRestarted`] if the peer was restarted and this has to be reported.
    pub(crate) fn next_peer_epoch(&mut self) -> Result<u16, Error> {
        let epoch = match self.sender.note_receiver() {
            // Noted; the comparison below decides whether to report it.
            Err(Error::PeerRestarted) => self.sender.note_receiver()?,
            noted => noted?,
        } as u16;
        match self.peer_epoch != 0 && epoch != 0 && self.note_restart(epoch) {
            true => Err(Error::PeerRestarted),
            false => Ok(epoch),
        }
    }

    /// Returns the number of messages that no end received: discarded at restarts, or skipped.
    pub(crate) fn discarded(&self) -> u32 {
        self.receiver.discarded().wrapping_add(self.skipped)
    }

    /// Returns true if the partition that has the peer's end is gone, or if the peer that this end
    /// exchanged messages with has left the channel.
    pub(crate) fn peer_is_gone(&self) -> bool {
        match self.sender.peer() {
            Some(peer) => self.sender.member.is_gone(peer),
            None => self.peer_epoch != 0,
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
            reads_call_line: call_line::IS_COHERENT,
            call,
        };
        let header = header.encode();
        for _ in 0..MAX_RESTARTS {
            let epoch = self.next_peer_epoch()?;
            match self.sender.send_parts([&header, message], wait) {
                Ok(()) => {
                    if epoch != 0 {
                        self.peer_epoch = epoch;
                    }
                    return Ok(());
                }
                Err(Error::PeerRestarted) => {} // Perhaps of an unknown peer (C2).
                Err(Error::MessageTooLong { max }) => {
                    let max = max - HEADER;
                    return Err(Error::MessageTooLong { max });
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::PeerRestarted)
    }

    /// Notes `epoch` as the peer's current epoch. Returns true if this is a restart to be reported
    /// (C1, C2).
    pub(crate) fn note_restart(&mut self, epoch: u16) -> bool {
        let known = core::mem::replace(&mut self.peer_epoch, epoch);
        known != 0 && known != epoch
    }

    /// Returns the next message, or the peer's restart; `None` if there is neither. The message
    /// stays the next one until [`Channel::release`].
    pub(crate) fn peek(&mut self) -> Result<Option<Received<Message<'_>>>, Error> {
        for _ in 0..MAX_SKIPS {
            let header = match self.receiver.peek()? {
                None => return Ok(None),
                // The messages after it carry the new epoch.
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
            let ahead = header.epoch.wrapping_sub(self.peer_epoch) as i16;
            if self.peer_epoch != 0 && ahead < 0 {
                self.release()?; // C3
                self.count_skipped();
                continue;
            }
            if self.note_restart(header.epoch) {
                return Ok(Some(Received::PeerRestarted));
            }
            // The record is read a second time. A hostile peer can combine one header with another
            // message's bytes by that, but it could have sent those in the first place.
            return match self.receiver.peek()? {
                Some(Received::Message(record)) => {
                    Ok(Some(Received::Message(Message { header, record })))
                }
                _ => Ok(None),
            };
        }
        Ok(None)
    }

    /// Counts a message that no end receives.
    pub(crate) fn count_skipped(&mut self) {
        self.skipped = self.skipped.wrapping_add(1);
    }

    /// Releases the message that was peeked last.
    pub(crate) fn release(&mut self) -> Result<(), Error> {
        self.receiver.release()
    }

    /// Wakes the peer after a store to the call line.
    pub(crate) fn notify(&mut self) -> Result<(), Error> {
        self.sender.notify()
    }

    /// Returns true if the ring has nothing to receive or to report now.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.receiver.is_empty()
    }

    /// Waits for a part of `wait`: until a message arrives, or `other` returns true. Fails if the
    /// wait has expired.
    pub(crate) fn wait(
        &mut self,
        wait: &mut Waiter<'_>,
        other: impl FnMut(&CallLine<'m>) -> bool,
    ) -> Result<(), Error> {
        if wait.is_expired() {
            return Err(Error::TimedOut);
        }
        if !wait.has_checks_left() {
            self.sender.member.check_place()?;
        }
        let (line, mut other) = (self.line, other);
        self.receiver.wait_part(wait, || other(&line));
        Ok(())
    }

    pub(crate) fn waiter(&self, timeout: Duration) -> Waiter<'m> {
        self.receiver.waiter(timeout)
    }
}
