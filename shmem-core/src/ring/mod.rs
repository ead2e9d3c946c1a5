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
//! - **R6** A record carries the epochs of both ends as its producer knew them:
//!   whose it is, and for whom. `epoch` has what they are for.
//!
//! | store                           | paired load              | hands over    |
//! |---------------------------------|--------------------------|---------------|
//! | header in `Producer::expose`    | header in `Consumer::header` | a record  |
//! | `head` in `Consumer::advance`   | `head` in `Producer::refresh` | free bytes |
//! | `tail` in `Producer::advance`   | `tail` in `Producer::resume` | the zero header there |
//! | `producer_epoch` in `take_over_producer` | `producer_epoch` in `Consumer::resolve` | what earlier producers published |
//! | claim in `give_back`            | claim in `check`         | an end of the ring |
//!
//! R1, R3, R4 bind honest peers (`tests/loom_ring.rs`). R2 and R5 are checked
//! on every word a peer stores: a hostile one may garble records, never take us
//! out of bounds. `tail` in memory is for recovery and inspection alone.

mod consumer;
mod epoch;
mod error;
mod header;
pub mod inspect;
mod producer;
mod record;
#[cfg(feature = "std")]
mod stream;
mod typed;

pub use consumer::{Consumer, Unread};
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
use crate::life::Life;
use crate::mem::{Circle, Window, Word};

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

    /// Claims the producing end for `life`, and resumes where a producer
    /// before it stopped.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Claimed`] while another holds it: if that one is dead,
    /// [`Ring::take_over_producer`]. An earlier life of the same partition is.
    /// [`ClaimError::Corrupt`] if what was left is not a ring.
    pub fn producer(self, life: Life) -> Result<Producer<'m>, ClaimError> {
        epoch::check(self.producer_claim(), life)?;
        self.take_over_producer(life)
    }

    /// As [`Ring::producer`], in place of a life that is over.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Corrupt`] if what was left is not a ring; the claim stays
    /// as it was.
    pub fn take_over_producer(self, life: Life) -> Result<Producer<'m>, ClaimError> {
        let position = producer::resume(&self)?;
        let epoch = epoch::claim(self.producer_claim(), self.producer_epoch(), life);
        Ok(Producer::new(self, life, position, epoch))
    }

    /// Claims the consuming end for `life`, and resumes where a consumer
    /// before it stopped: what that one had not released is there again, or
    /// discarded, as `unread` says.
    ///
    /// # Errors
    ///
    /// As [`Ring::producer`].
    pub fn consumer(self, life: Life, unread: Unread) -> Result<Consumer<'m>, ClaimError> {
        epoch::check(self.consumer_claim(), life)?;
        self.take_over_consumer(life, unread)
    }

    /// As [`Ring::consumer`], in place of a life that is over.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Corrupt`] if what was left is not a ring.
    pub fn take_over_consumer(
        self,
        life: Life,
        unread: Unread,
    ) -> Result<Consumer<'m>, ClaimError> {
        let head = consumer::resume(&self)?;
        let epoch = epoch::claim(self.consumer_claim(), self.consumer_epoch(), life);
        Ok(Consumer::new(self, life, head, epoch, unread))
    }

    /// Who holds the producing end.
    pub fn producing(&self) -> Option<Life> {
        epoch::holder(self.producer_claim())
    }

    /// Who holds the consuming end.
    pub fn consuming(&self) -> Option<Life> {
        epoch::holder(self.consumer_claim())
    }

    fn control_word(&self, offset: usize) -> Word<'m> {
        self.control.word(offset)
    }

    fn producer_claim(&self) -> Word<'m> {
        self.control_word(offset_of!(RingControl, producer))
    }

    fn consumer_claim(&self) -> Word<'m> {
        self.control_word(offset_of!(RingControl, consumer))
    }

    #[inline(always)]
    fn producer_epoch(&self) -> Word<'m> {
        self.control_word(offset_of!(RingControl, producer_epoch))
    }

    #[inline(always)]
    fn consumer_epoch(&self) -> Word<'m> {
        self.control_word(offset_of!(RingControl, consumer_epoch))
    }

    fn discarded(&self) -> Word<'m> {
        self.control_word(offset_of!(RingControl, discarded))
    }

    fn tail(&self) -> Word<'m> {
        self.control_word(offset_of!(RingControl, tail))
    }

    fn head(&self) -> Word<'m> {
        self.control_word(offset_of!(RingControl, head))
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

    /// The word of the epochs in the header of the record at `position`.
    #[inline(always)]
    fn stamp(&self, position: u32) -> Word<'m> {
        self.data.word(position.wrapping_add(4))
    }

    /// Position of the payload of the record at `position`.
    #[inline(always)]
    fn payload(position: u32) -> u32 {
        position.wrapping_add(RECORD_HEADER as u32)
    }
}
