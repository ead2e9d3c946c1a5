//! Bytes without boundaries over a ring, as [`std::io`] has them.

use core::time::Duration;
use std::io::{self, Read, Write};

use shmem_core::ring::OnRestart;

use crate::error::Error;
use crate::receiver::{Received, Receiver};
use crate::sender::Sender;
use crate::session::Session;

impl<'m> Session<'m> {
    /// The end of the ring `name`, of `capacity` bytes, that bytes are written into. A
    /// write waits for room up to `timeout`.
    ///
    /// # Errors
    ///
    /// As [`Session::sender`].
    pub fn byte_sender(
        &self,
        name: &str,
        capacity: usize,
        timeout: Duration,
    ) -> Result<ByteSender<'m>, Error> {
        let sender = self.sender(name, capacity)?;
        Ok(ByteSender { sender, timeout })
    }

    /// The end of the ring `name`, of `capacity` bytes, that bytes are read from. A read
    /// waits for the first byte up to `timeout`.
    ///
    /// # Errors
    ///
    /// As [`Session::receiver`].
    pub fn byte_receiver(
        &self,
        name: &str,
        capacity: usize,
        timeout: Duration,
    ) -> Result<ByteReceiver<'m>, Error> {
        Ok(ByteReceiver {
            receiver: self.receiver(name, capacity, OnRestart::Keep)?,
            taken: 0,
            timeout,
        })
    }
}

/// Writes bytes into a ring. Errors carry an [`Error`]; a deadline that passes is
/// [`io::ErrorKind::TimedOut`].
pub struct ByteSender<'m> {
    sender: Sender<'m>,
    timeout: Duration,
}

impl Write for ByteSender<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        // Not half of the ring at once: the receiver takes one piece while the next comes.
        let longest = (self.sender.max_len() / 4).max(1);
        let piece = &bytes[..bytes.len().min(longest)];
        self.sender.send(piece, self.timeout).map_err(io_error)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // Nothing is held back.
    }
}

/// Reads bytes from a ring. Errors carry an [`Error`]; a deadline that passes is
/// [`io::ErrorKind::TimedOut`], a restart of the writer [`io::ErrorKind::ConnectionReset`].
/// There is no end of file: a partition that ends says so in its own way.
pub struct ByteReceiver<'m> {
    receiver: Receiver<'m>,
    /// Bytes of the next record that were read.
    taken: usize,
    timeout: Duration,
}

impl Read for ByteReceiver<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut wait = self.receiver.waiter(self.timeout);
        loop {
            let (count, is_whole) = match self.receiver.peek().map_err(io_error)? {
                Some(Received::Message(record)) => {
                    let count = record.read(self.taken, bytes);
                    (count, self.taken + count >= record.len())
                }
                Some(Received::PeerRestarted) => {
                    self.taken = 0;
                    return Err(io_error(Error::PeerRestarted));
                }
                None if wait.is_over() => return Err(io_error(Error::TimedOut)),
                None => {
                    self.receiver.wait_part(&mut wait, || false);
                    continue;
                }
            };
            self.taken += count;
            if is_whole {
                self.taken = 0;
                self.receiver.release().map_err(io_error)?;
            }
            if count != 0 {
                return Ok(count);
            }
            // A record of no bytes: one that sends nothing else must not keep us here.
            if wait.is_past() {
                return Err(io_error(Error::TimedOut));
            }
        }
    }
}

fn io_error(error: Error) -> io::Error {
    let kind = match error {
        Error::TimedOut | Error::Full => io::ErrorKind::TimedOut,
        Error::PeerRestarted => io::ErrorKind::ConnectionReset,
        Error::PeerGone => io::ErrorKind::BrokenPipe,
        _ => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, error)
}
