//! A byte stream over a ring, with the traits of [`std::io`].

use core::time::Duration;
use std::io::{self, Read, Write};

use shmem_core::ring::OnRestart;

use crate::error::Error;
use crate::receiver::{Received, Receiver};
use crate::sender::Sender;
use crate::session::Session;

impl<'m> Session<'m> {
    /// Opens the writing end of the byte stream over the ring `name`, of `capacity` bytes. A write
    /// waits for room up to `timeout`.
    ///
    /// # Errors
    ///
    /// Those of [`Session::sender`].
    pub fn byte_sender(
        &self,
        name: &str,
        capacity: usize,
        timeout: Duration,
    ) -> Result<ByteSender<'m>, Error> {
        let sender = self.sender(name, capacity)?;
        Ok(ByteSender { sender, timeout })
    }

    /// Opens the reading end of the byte stream over the ring `name`, of `capacity` bytes. A read
    /// waits for the first byte up to `timeout`.
    ///
    /// # Errors
    ///
    /// Those of [`Session::receiver`].
    pub fn byte_receiver(
        &self,
        name: &str,
        capacity: usize,
        timeout: Duration,
    ) -> Result<ByteReceiver<'m>, Error> {
        Ok(ByteReceiver {
            receiver: self.receiver(name, capacity, OnRestart::Keep)?,
            read_len: 0,
            timeout,
        })
    }
}

/// Writes bytes into a ring. Its [`io::Error`]s contain an [`Error`]. After a timeout the kind is
/// [`io::ErrorKind::TimedOut`], after a restart of the reader [`io::ErrorKind::ConnectionReset`],
/// and if the reader is gone [`io::ErrorKind::BrokenPipe`].
pub struct ByteSender<'m> {
    sender: Sender<'m>,
    timeout: Duration,
}

impl Write for ByteSender<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        // A fraction of the ring: the receiver reads one piece while the next one is written.
        let longest = (self.sender.max_len() / 4).max(1);
        let piece = &bytes[..bytes.len().min(longest)];
        self.sender.send(piece, self.timeout).map_err(io_error)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // Nothing is buffered.
    }
}

/// Reads bytes from a ring. Its [`io::Error`]s contain an [`Error`]. After a timeout the kind is
/// [`io::ErrorKind::TimedOut`], after a restart of the writer [`io::ErrorKind::ConnectionReset`].
///
/// There is no end of file: the application must send its own end mark.
pub struct ByteReceiver<'m> {
    receiver: Receiver<'m>,
    /// Bytes of the next record that were already read.
    read_len: usize,
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
                    let count = record.read(self.read_len, bytes);
                    (count, self.read_len + count >= record.len())
                }
                Some(Received::PeerRestarted) => {
                    self.read_len = 0;
                    return Err(io_error(Error::PeerRestarted));
                }
                None if wait.is_expired() => return Err(io_error(Error::TimedOut)),
                None => {
                    self.receiver.wait_part(&mut wait, || false);
                    continue;
                }
            };
            self.read_len += count;
            if is_whole {
                self.read_len = 0;
                self.receiver.release().map_err(io_error)?;
            }
            if count != 0 {
                return Ok(count);
            }
            // An empty record. A peer that sends nothing else must not keep us here.
            if wait.deadline_passed() {
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
