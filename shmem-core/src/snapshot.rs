//! A single writer's latest value, for any number of readers.
//!
//! A sequence lock with two slots: the writer fills the slot that `sequence` does
//! not select, and then stores `sequence`. Hence it never waits, and a writer that dies in
//! the middle leaves the last whole value readable.
//!
//! - **S1** Only the writer stores `sequence` and the slots.
//! - **S2** `sequence` is 0 until the first value, and never 0 again.
//! - **S3** Value *n* lies in slot *n* mod 2, and is not touched while
//!   `sequence` is *n*.
//!
//! | store                     | paired load                  | hands over       |
//! |---------------------------|------------------------------|------------------|
//! | `sequence` in `write`     | first `sequence` in `read`   | a whole slot     |
//! | fence, slot in `write`    | slot, fence in `read`        | a new `sequence` |
//!
//! A reader's copy may race with the writer by design: the reader copies with relaxed
//! atomic loads and drops the copy if `sequence` moved (`tests/loom_snapshot.rs`).

use core::fmt;

use bytemuck::{AnyBitPattern, NoUninit};
use memoffset::offset_of;

use crate::error::{ControlWord, Corrupt};
use crate::layout::{SnapshotControl, LINE, RECORD_HEADER};
use crate::mem::{OutOfWindow, Window};
use crate::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release},
};

/// Why a read returned no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The writer has written no value yet.
    Empty,
    /// The writer wrote faster than the reader could copy, [`ATTEMPTS`] times in a row.
    Busy,
    /// The value is longer than the buffer.
    TooLong {
        /// Bytes of the value.
        len: usize,
    },
    /// The value has another size than the type.
    WrongSize {
        /// Bytes of the value.
        len: usize,
    },
    /// The writer broke the protocol.
    Corrupt(Corrupt),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no value has been written yet"),
            Self::Busy => f.write_str("the writer overtook every attempt to read"),
            Self::TooLong { len } => write!(f, "the value has {len} bytes, more than the buffer"),
            Self::WrongSize { len } => {
                write!(f, "the value has {len} bytes, not the size of the type")
            }
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

#[cfg(feature = "std")]
impl std::error::Error for ReadError {}

/// The value is longer than a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Bytes of the value.
    pub len: usize,
    /// Bytes that fit into a slot.
    pub max: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a value of {} bytes does not fit into a slot of {} bytes",
            self.len, self.max
        )
    }
}

#[cfg(feature = "std")]
impl std::error::Error for TooLong {}

/// Attempts of a read before it returns [`ReadError::Busy`].
pub const ATTEMPTS: usize = 16;

/// Returns the length in bytes of a segment for values of up to `max` bytes.
pub const fn segment_len(max: usize) -> usize {
    LINE + 2 * (RECORD_HEADER + max).div_ceil(LINE) * LINE
}

/// The offsets in a segment, which follow from its length.
#[derive(Clone, Copy)]
struct Geometry<'m> {
    segment: Window<'m>,
    stride: usize,
}

impl<'m> Geometry<'m> {
    fn new(segment: Window<'m>) -> Result<Self, OutOfWindow> {
        segment.sub(0, segment_len(1))?;
        Ok(Self {
            segment,
            stride: (segment.len() - LINE) / 2 / LINE * LINE,
        })
    }

    fn max_len(&self) -> usize {
        (self.stride - RECORD_HEADER).min(u32::MAX as usize)
    }

    fn slot(&self, sequence: u32) -> usize {
        LINE + (sequence % 2) as usize * self.stride
    }

    fn sequence(&self) -> crate::mem::Word<'m> {
        self.segment.word(offset_of!(SnapshotControl, sequence))
    }
}

/// The side that writes.
pub struct Writer<'m> {
    at: Geometry<'m>,
    /// The last value that we stored: our own word is never read back.
    sequence: u32,
}

impl<'m> Writer<'m> {
    /// Returns the writing side of the snapshot in `segment`. No other writer may use it.
    /// A zeroed segment is a snapshot without a value.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if the segment has no room for two slots.
    pub fn attach(segment: Window<'m>) -> Result<Self, OutOfWindow> {
        let at = Geometry::new(segment)?;
        // relaxed: only an earlier incarnation of this writer stored it, which is gone.
        let sequence = at.sequence().load(Relaxed);
        Ok(Self { at, sequence })
    }

    /// Returns the length in bytes of the longest value.
    pub fn max_len(&self) -> usize {
        self.at.max_len()
    }

    /// Makes `value` the latest. Never waits for a reader.
    ///
    /// # Errors
    ///
    /// [`TooLong`] if it does not fit; the latest value stays.
    pub fn write(&mut self, value: &[u8]) -> Result<(), TooLong> {
        let max = self.max_len();
        if value.len() > max {
            return Err(TooLong {
                len: value.len(),
                max,
            });
        }
        // S2: 2 follows 2^32 - 1, the next even number except 0.
        let sequence = self.sequence.checked_add(1).unwrap_or(2);
        let slot = self.at.slot(sequence);
        // Pairs with the fence in `Reader::read`: a reader that sees any new byte of
        // this slot also sees that `sequence` has changed since it selected this slot.
        // loom: loom_snapshot
        fence(Release);
        let len = self.at.segment.word(slot);
        // relaxed: after the fence, and published by the Release of `sequence`.
        len.store(value.len() as u32, Relaxed);
        self.at.segment.write_shared(slot + RECORD_HEADER, value);
        // Pairs with the first load in `Reader::read`: the slot is whole.
        // loom: loom_snapshot
        self.at.sequence().store(sequence, Release);
        self.sequence = sequence;
        Ok(())
    }

    /// As [`Writer::write`], for a plain value. The bytes are copied unchanged: use
    /// little-endian fields if the reader may be another machine.
    ///
    /// # Errors
    ///
    /// [`TooLong`] if it does not fit.
    pub fn write_value<T: NoUninit>(&mut self, value: &T) -> Result<(), TooLong> {
        self.write(bytemuck::bytes_of(value))
    }
}

/// A side that reads.
#[derive(Clone, Copy)]
pub struct Reader<'m> {
    at: Geometry<'m>,
}

impl<'m> Reader<'m> {
    /// Returns a reading side of the snapshot in `segment`. It stores nothing, so the
    /// memory may be mapped read-only.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if the segment has no room for two slots.
    pub fn attach(segment: Window<'m>) -> Result<Self, OutOfWindow> {
        Ok(Self {
            at: Geometry::new(segment)?,
        })
    }

    /// Returns the number of the latest value, which changes with each value; 0 before the first.
    pub fn sequence(&self) -> u32 {
        // relaxed: a hint; `read` loads it again.
        self.at.sequence().load(Relaxed)
    }

    /// Copies the latest value to the start of `buffer` and returns its length.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if there is no value, the writer is too fast, the buffer is too short, or the
    /// stored length is one that no honest writer stores.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        for _ in 0..ATTEMPTS {
            // Pairs with the store in `Writer::write`: the slot is whole.
            // loom: loom_snapshot
            let sequence = self.at.sequence().load(Acquire);
            if sequence == 0 {
                return Err(ReadError::Empty);
            }
            let slot = self.at.slot(sequence);
            // relaxed: after the Acquire of `sequence`, and used only if that has not moved.
            let length = self.at.segment.word(slot).load(Relaxed);
            let len = length as usize;
            if len <= buffer.len() && len <= self.at.max_len() {
                let bytes = &mut buffer[..len];
                self.at.segment.read_shared(slot + RECORD_HEADER, bytes);
            }
            // Pairs with the fence in `Writer::write`: if any byte above came
            // from a later value, the load below sees that `sequence` moved.
            // loom: loom_snapshot
            fence(Acquire);
            // relaxed: after the fence.
            if self.at.sequence().load(Relaxed) != sequence {
                continue;
            }
            if len > self.at.max_len() {
                return Err(ReadError::Corrupt(Corrupt {
                    word: ControlWord::SnapshotSlotLength,
                    value: length,
                }));
            }
            if len > buffer.len() {
                return Err(ReadError::TooLong { len });
            }
            return Ok(len);
        }
        Err(ReadError::Busy)
    }

    /// As [`Reader::read`], for a plain value.
    ///
    /// # Errors
    ///
    /// [`ReadError::WrongSize`] if the latest value has another size; otherwise as
    /// [`Reader::read`].
    pub fn read_value<T: AnyBitPattern + NoUninit>(&self) -> Result<T, ReadError> {
        let mut value = T::zeroed();
        match self.read(bytemuck::bytes_of_mut(&mut value)) {
            Ok(len) if len == core::mem::size_of::<T>() => Ok(value),
            Ok(len) | Err(ReadError::TooLong { len }) => Err(ReadError::WrongSize { len }),
            Err(error) => Err(error),
        }
    }
}

#[cfg(all(test, not(loom), feature = "alloc"))]
mod tests {
    use super::*;
    use crate::mem::Heap;

    #[test]
    fn zeroed_memory_is_a_snapshot_without_a_value() {
        let heap = Heap::new(segment_len(16));
        let reader = Reader::attach(heap.window()).unwrap();
        assert_eq!(reader.read(&mut [0; 16]), Err(ReadError::Empty));
        assert_eq!(reader.sequence(), 0);
    }

    #[test]
    fn the_latest_value_is_read_with_its_length() {
        let heap = Heap::new(segment_len(16));
        let mut writer = Writer::attach(heap.window()).unwrap();
        let reader = Reader::attach(heap.window()).unwrap();
        for value in [&b"one"[..], b"", b"a longer value"] {
            writer.write(value).unwrap();
            let mut read = [0; 16];
            let len = reader.read(&mut read).unwrap();
            assert_eq!(&read[..len], value);
        }
    }

    #[test]
    fn a_value_that_is_too_long_leaves_the_latest_unchanged() {
        let heap = Heap::new(segment_len(16));
        let mut writer = Writer::attach(heap.window()).unwrap();
        writer.write_value(&7_u64).unwrap();
        let max = writer.max_len();
        assert_eq!(writer.write(&[0; 4096]), Err(TooLong { len: 4096, max }));
        let reader = Reader::attach(heap.window()).unwrap();
        assert_eq!(reader.read_value::<u64>(), Ok(7));
        assert_eq!(
            reader.read_value::<u32>(),
            Err(ReadError::WrongSize { len: 8 })
        );
    }

    #[test]
    fn the_sequence_never_becomes_zero_again() {
        let heap = Heap::new(segment_len(16));
        heap.window().word(0).store(u32::MAX, Relaxed);
        let mut writer = Writer::attach(heap.window()).unwrap();
        let reader = Reader::attach(heap.window()).unwrap();
        writer.write(b"after the wrap").unwrap();
        assert_eq!(reader.sequence(), 2);
        assert_eq!(reader.read(&mut [0; 16]), Ok(14));
    }

    #[test]
    fn an_invalid_length_is_reported_with_its_value() {
        let heap = Heap::new(segment_len(16));
        let window = heap.window();
        window.word(0).store(1, Relaxed);
        let reader = Reader::attach(window).unwrap();
        window.word(reader.at.slot(1)).store(0xffff_fff0, Relaxed);
        assert_eq!(
            reader.read(&mut [0; 16]),
            Err(ReadError::Corrupt(Corrupt {
                word: ControlWord::SnapshotSlotLength,
                value: 0xffff_fff0
            }))
        );
    }
}
