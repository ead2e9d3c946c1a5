//! A ring as a stream of bytes, for consoles.

use std::io;

use super::{Consumer, PopError, Producer, PushError};

/// The most empty records that one read skips.
const EMPTY: u32 = 64;

/// Writes bytes as records; record boundaries have no meaning.
///
/// A full ring is [`io::ErrorKind::WouldBlock`]. Every other error, a restart of the consumer
/// included, is [`io::ErrorKind::InvalidData`] and contains the [`PushError`].
pub struct ByteWriter<'m> {
    producer: Producer<'m>,
}

impl<'m> ByteWriter<'m> {
    /// Wraps `producer` as a stream.
    pub fn new(producer: Producer<'m>) -> Self {
        Self { producer }
    }

    /// Returns the wrapped producer.
    pub fn get_mut(&mut self) -> &mut Producer<'m> {
        &mut self.producer
    }
}

impl io::Write for ByteWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        // Halve the length until it fits, so that a nearly full ring still accepts some bytes.
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
/// An empty ring is [`io::ErrorKind::WouldBlock`]. Every other error, a restart of the producer
/// included, is [`io::ErrorKind::InvalidData`] and contains the [`PopError`]. A restart is
/// reported once, between the bytes of the two producers. There is no end of file: the
/// application must signal it in its own way.
pub struct ByteReader<'m> {
    consumer: Consumer<'m>,
    /// Position of a record that was read in part, and the number of its bytes read.
    consumed: (u32, usize),
    /// True if a restart was found after bytes were returned, and is still to be reported.
    restarted: bool,
}

impl<'m> ByteReader<'m> {
    /// Wraps `consumer` as a stream.
    pub fn new(consumer: Consumer<'m>) -> Self {
        Self {
            consumed: (consumer.position(), 0),
            consumer,
            restarted: false,
        }
    }

    /// Returns the wrapped consumer. A record that was read in part stays the next.
    pub fn get_mut(&mut self) -> &mut Consumer<'m> {
        &mut self.consumer
    }

    /// Copies from the next record into `bytes`; returns the number of bytes copied.
    fn read_record(&mut self, bytes: &mut [u8]) -> Result<usize, PopError> {
        let (position, record) = self.consumer.peek_at()?;
        let consumed = match self.consumed {
            (at, consumed) if at == position => consumed,
            // The record that was read in part was discarded; this is another one.
            _ => 0,
        };
        let (len, count) = (record.len(), record.read(consumed, bytes));
        self.consumed = (position, consumed + count);
        if consumed + count >= len {
            self.consumer.release()?;
        }
        Ok(count)
    }
}

impl io::Read for ByteReader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let fail = |error| Err(io::Error::new(io::ErrorKind::InvalidData, error));
        if std::mem::take(&mut self.restarted) {
            return fail(PopError::Restarted);
        }
        let mut filled = 0;
        // Bounded: otherwise a hostile producer of empty records could keep us here.
        let mut empty = 0;
        while filled < bytes.len() && empty < EMPTY {
            match self.read_record(&mut bytes[filled..]) {
                Ok(0) => empty += 1,
                Ok(count) => filled += count,
                Err(error) if filled != 0 => {
                    // The next call returns every other error again.
                    self.restarted = error == PopError::Restarted;
                    break;
                }
                Err(PopError::Empty) => break,
                Err(error) => return fail(error),
            }
        }
        if filled == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(filled)
    }
}
