//! A ring as a stream of bytes, for consoles.

use std::io;

use crate::layout::RECORD_HEADER;

use super::{Consumer, PopError, Producer, PushError};

/// Writes bytes as records; the boundaries mean nothing.
///
/// A full ring is [`io::ErrorKind::WouldBlock`], a broken one
/// [`io::ErrorKind::InvalidData`].
pub struct ByteWriter<'m> {
    producer: Producer<'m>,
}

impl<'m> ByteWriter<'m> {
    /// The same end, as a stream.
    pub fn new(producer: Producer<'m>) -> Self {
        Self { producer }
    }

    /// The end it was made of.
    pub fn get_mut(&mut self) -> &mut Producer<'m> {
        &mut self.producer
    }
}

impl io::Write for ByteWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        // Smaller and smaller, so that a nearly full ring still takes something.
        let mut len = bytes.len().min(self.producer.ring().max_record());
        loop {
            match self.producer.push(&bytes[..len]) {
                Ok(()) => return Ok(len),
                Err(PushError::Full) if len > 8 => len /= 2,
                Err(PushError::Full) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the bytes of records one after the other.
///
/// An empty ring is [`io::ErrorKind::WouldBlock`], a broken one
/// [`io::ErrorKind::InvalidData`]. There is no end of file: a partition that
/// ends says so in its own way.
pub struct ByteReader<'m> {
    consumer: Consumer<'m>,
    /// Bytes of the next record that were read.
    taken: usize,
}

impl<'m> ByteReader<'m> {
    /// The same end, as a stream.
    pub fn new(consumer: Consumer<'m>) -> Self {
        Self { consumer, taken: 0 }
    }

    /// The end it was made of. A record read in part stays the next.
    pub fn get_mut(&mut self) -> &mut Consumer<'m> {
        &mut self.consumer
    }
}

impl io::Read for ByteReader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        // Empty records fill nothing: no more of them than a lap has room for,
        // or a hostile producer would keep us here.
        let mut left = self.consumer.ring().capacity() / RECORD_HEADER;
        while filled < bytes.len() && left != 0 {
            left -= 1;
            let record = match self.consumer.peek() {
                Ok(record) => record,
                // An error that stays is said by the next call.
                Err(_) if filled != 0 => break,
                Err(PopError::Empty) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            };
            let len = record.len();
            let count = record.read(self.taken, &mut bytes[filled..]);
            filled += count;
            self.taken += count;
            if self.taken >= len {
                self.consumer.release();
                self.taken = 0;
            }
        }
        if filled == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(filled)
    }
}
