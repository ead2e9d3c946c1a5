//! Single-producer, single-consumer queue of variable-length records.
//!
//! A record is published by its own header word, so that a small one moves one
//! line between the processors, not two. The next header is zeroed before, so
//! that old payload is never taken for a header, and a producer that dies
//! leaves whole records or none.
//!
//! - **R1** Only the producer stores `tail`, headers and payload; only the
//!   consumer stores `head`.
//! - **R2** `tail - head <= capacity`, modulo 2^32; capacity is a power of two;
//!   positions are multiples of 8.
//! - **R3** Bytes in `[head, tail)` are the consumer's, the rest the
//!   producer's; a header's store gives bytes to the consumer, `head`'s store
//!   gives them back.
//! - **R4** The header at `tail` is zero. It lies in the producer's part, so 8
//!   bytes always stay free.
//! - **R5** A record is contiguous; where it would not fit before the end, a
//!   padding record fills the rest. Hence no record is longer than half.
//!
//! | store                           | paired load              | hands over    |
//! |---------------------------------|--------------------------|---------------|
//! | header in `Producer::expose`    | header in `Consumer::header` | a record  |
//! | `head` in `Consumer::advance`   | `head` in `Producer::refresh` | free bytes |
//! | `tail` in `Producer::advance`   | `tail` in `Producer::resume` | the zero header there |
//! | claim in `unclaim`              | claim in `check_unclaimed` | an end of the ring |
//!
//! R1, R3, R4 bind honest peers (`tests/loom_ring.rs`). R2 and R5 are checked
//! on every word a peer stores: a hostile one may garble records, never take us
//! out of bounds. `tail` in memory is for recovery and inspection alone.

mod consumer;
mod error;
mod header;
mod producer;
mod record;
#[cfg(feature = "std")]
mod stream;
mod typed;

pub use consumer::Consumer;
pub use error::{ClaimError, GeometryError, PopError, PushError};
pub use producer::{Batch, Producer, Reservation};
pub use record::Record;
#[cfg(feature = "std")]
pub use stream::{ByteReader, ByteWriter};
pub use typed::{TypedConsumer, TypedProducer};

use core::mem::size_of;

use memoffset::offset_of;

use crate::doorbell::{Ringer, Sleeper};
use crate::layout::{RingControl, LINE, MAX_CAPACITY, MIN_CAPACITY, RECORD_HEADER};
use crate::mem::{Circle, Window, Word};
use crate::primitive::Ordering::{Acquire, Relaxed, Release};

const CONTROL: usize = size_of::<RingControl>();

/// A ring in a segment, before one of its ends is claimed.
#[derive(Clone, Copy)]
pub struct Ring<'m> {
    control: Window<'m>,
    data: Circle<'m>,
}

impl<'m> Ring<'m> {
    /// Bytes a segment needs for a ring of `capacity` bytes.
    pub const fn segment_len(capacity: usize) -> usize {
        CONTROL + capacity
    }

    /// The ring in `segment`. A zeroed segment is an empty ring, so there is
    /// nothing to create; its length alone gives the capacity.
    ///
    /// # Errors
    ///
    /// [`GeometryError`] if the segment is not a control block and a power of
    /// two between 64 bytes and 1 GiB.
    pub fn attach(segment: Window<'m>) -> Result<Self, GeometryError> {
        let error = GeometryError { len: segment.len() };
        let capacity = segment.len().checked_sub(CONTROL).ok_or(error)?;
        if !capacity.is_power_of_two() || !(MIN_CAPACITY..=MAX_CAPACITY).contains(&capacity) {
            return Err(error);
        }
        Ok(Self {
            control: segment.sub(0, CONTROL).map_err(|_| error)?,
            data: segment
                .sub(CONTROL, capacity)
                .ok()
                .and_then(Circle::new)
                .ok_or(error)?,
        })
    }

    /// Bytes of the data area.
    pub fn capacity(&self) -> usize {
        self.data.len() as usize
    }

    /// Bytes of the longest record: one that fits wherever `tail` stands (R4, R5).
    pub fn max_record(&self) -> usize {
        self.capacity() / 2 - 2 * RECORD_HEADER
    }

    /// Claims the producing end for `partition`, and resumes where a producer
    /// before it stopped.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Claimed`] while another holds it: if that one is dead,
    /// [`Ring::take_over_producer`]. [`ClaimError::Corrupt`] if what was left
    /// is not a ring.
    pub fn producer(self, partition: u8) -> Result<Producer<'m>, ClaimError> {
        check_unclaimed(self.producer_claim())?;
        self.take_over_producer(partition)
    }

    /// As [`Ring::producer`], in place of a partition that is dead.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Corrupt`] if what was left is not a ring; the claim stays
    /// as it was.
    pub fn take_over_producer(self, partition: u8) -> Result<Producer<'m>, ClaimError> {
        check_number(partition)?;
        let producer = Producer::resume(self, partition)?;
        self.producer_claim().store(u32::from(partition), Relaxed);
        Ok(producer)
    }

    /// Claims the consuming end for `partition`, and resumes where a consumer
    /// before it stopped: what it had not released is there again.
    ///
    /// # Errors
    ///
    /// As [`Ring::producer`].
    pub fn consumer(self, partition: u8) -> Result<Consumer<'m>, ClaimError> {
        check_unclaimed(self.consumer_claim())?;
        self.take_over_consumer(partition)
    }

    /// As [`Ring::consumer`], in place of a partition that is dead.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Corrupt`] if what was left is not a ring.
    pub fn take_over_consumer(self, partition: u8) -> Result<Consumer<'m>, ClaimError> {
        check_number(partition)?;
        let consumer = Consumer::resume(self, partition)?;
        self.consumer_claim().store(u32::from(partition), Relaxed);
        Ok(consumer)
    }

    fn producer_claim(&self) -> Word<'m> {
        self.control.word(offset_of!(RingControl, producer))
    }

    fn consumer_claim(&self) -> Word<'m> {
        self.control.word(offset_of!(RingControl, consumer))
    }

    fn tail(&self) -> Word<'m> {
        self.control.word(offset_of!(RingControl, tail))
    }

    fn head(&self) -> Word<'m> {
        self.control.word(offset_of!(RingControl, head))
    }

    /// The ringing side of the bell at `offset` in the control block.
    fn ringer(&self, offset: usize) -> Ringer<'m> {
        let line = self.control.sub(offset, LINE).and_then(Ringer::attach);
        line.expect("a control block has its bells")
    }

    /// The sleeping side of the bell at `offset` in the control block.
    fn sleeper(&self, offset: usize) -> Sleeper<'m> {
        let line = self.control.sub(offset, LINE).and_then(Sleeper::attach);
        line.expect("a control block has its bells")
    }

    /// Position of the payload of the record at `position`.
    #[inline(always)]
    fn payload(position: u32) -> u32 {
        position.wrapping_add(RECORD_HEADER as u32)
    }
}

fn check_number(partition: u8) -> Result<(), ClaimError> {
    if partition == 0 {
        return Err(ClaimError::NotAPartition);
    }
    Ok(())
}

/// Claims need no read-modify-write because who claims which end is agreed
/// beforehand; a claim shows the mistake, it does not arbitrate a race.
fn check_unclaimed(word: Word<'_>) -> Result<(), ClaimError> {
    // Pairs with the store in `unclaim`: who had the end has let go.
    let by = word.load(Acquire); // loom: loom_ring
    if by != 0 {
        return Err(ClaimError::Claimed { by });
    }
    Ok(())
}

/// Gives an end back, unless another partition took it over meanwhile.
fn unclaim(word: Word<'_>, partition: u8) {
    if word.load(Relaxed) == u32::from(partition) {
        // Pairs with the load in `check_unclaimed`: we have let go.
        word.store(0, Release); // loom: loom_ring
    }
}
