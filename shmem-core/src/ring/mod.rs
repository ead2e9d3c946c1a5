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
//! - **R7** An end looks at its claim before the first store of a call, before each store
//!   that gives bytes away (a header, `head`), and a producer once more between a header
//!   and its answer. A claim that is not its own makes it *evicted*, for good: it stores
//!   nothing more, also not when it is dropped.
//! - **R8** A successor stores its claim, then a full fence, and goes on from what it finds
//!   then (E4). A record whose producer was answered `Ok` before that claim was stored is
//!   found. So is one whose producer was stopped anywhere in the call and answered `Ok`
//!   after that, and all before an `Ok` of `notify`.
//!
//! What R7 and R8 do not promise: the stores between one look and the next are not one
//! step. Of a producer that is stopped there at most one record (or batch) is under way:
//! its late stores go to the free bytes that its successor writes from the same position,
//! and can garble or hide what that one pushed there, or make it corrupt. Of a consumer it is
//! one store of `head`. Of one that runs on at the very moment of the takeover, an `Ok`
//! without a `notify` can be of a record that the successor overwrites, for as long as a
//! store takes to be seen. Hence an end is taken over from who is *gone*, and R7 tells who
//! was not.
//!
//! | store                           | paired load              | hands over    |
//! |---------------------------------|--------------------------|---------------|
//! | header in `Producer::expose`    | header in `Consumer::header`, `resume::producer` | a record  |
//! | `head` in `Consumer::advance`   | `head` in `Producer::refresh`, `Position::load` | free bytes |
//! | `tail` in `Producer::advance`   | `tail` in `Position::load` | the zero header there |
//! | `producer_epoch` in `End::take` | `producer_epoch` in `Consumer::resolve` | what earlier producers published |
//! | claim in `Claim::give_back`     | claim in `End::check`, fence in `End::take` | an end of the ring |
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
mod resume;
#[cfg(feature = "std")]
mod stream;
mod typed;
mod unpublished;

pub use consumer::{Consumer, Unread, DISCARDS};
pub use error::{ClaimError, GeometryError, PopError, PushError};
pub use producer::Producer;
pub use record::Record;
#[cfg(feature = "std")]
pub use stream::{ByteReader, ByteWriter};
pub use typed::{TypedConsumer, TypedProducer};
pub use unpublished::{Batch, Reservation};

use resume::Position;

use core::mem::size_of;

use memoffset::offset_of;

use crate::doorbell::{Ringer, Sleeper};
use crate::error::ControlWord;
use crate::layout::{RingControl, LINE, MAX_CAPACITY, MIN_CAPACITY, RECORD_HEADER};
use crate::life::Life;
use crate::mem::{Circle, Window, Word};
use crate::primitive::Ordering::Relaxed;

use epoch::End;

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
    /// [`ClaimError::Claimed`] while another holds it, or this incarnation itself: if that
    /// one is gone, [`Ring::take_over_producer`]. An earlier incarnation of the same
    /// partition is. [`ClaimError::Corrupt`] if what was left is not a ring.
    pub fn producer(self, life: Life) -> Result<Producer<'m>, ClaimError> {
        self.producer_end().check(life)?;
        self.take_over_producer(life)
    }

    /// As [`Ring::producer`], in place of an incarnation that is gone. One that is not is
    /// told so at its next call ([`PushError::Evicted`]).
    ///
    /// An incarnation that takes over its own end restarts that end: for the peer it is
    /// another producer. The handle it had before must not be used again; the claim is
    /// the same, so nobody tells that handle.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Corrupt`] if what was left is not a ring: the claim stays
    /// as it was, or is given back if that was seen only after it was made.
    pub fn take_over_producer(self, life: Life) -> Result<Producer<'m>, ClaimError> {
        let look = || {
            // relaxed: an old one is as good as having claimed earlier; each call loads it again.
            let peer = self.consumer_epoch().load(Relaxed);
            let peer = epoch::check(ControlWord::ConsumerEpoch, peer, 0)?;
            Ok((resume::producer(&self)?, peer))
        };
        let (start, claim, epoch) = self.producer_end().take(life, &look)?;
        Ok(Producer::new(self, start, claim, epoch))
    }

    /// Claims the consuming end for `life`, and resumes where a consumer
    /// before it stopped: what that one had not released is there again, or
    /// discarded, as `unread` says.
    ///
    /// # Errors
    ///
    /// As [`Ring::producer`].
    pub fn consumer(self, life: Life, unread: Unread) -> Result<Consumer<'m>, ClaimError> {
        self.consumer_end().check(life)?;
        self.take_over_consumer(life, unread)
    }

    /// As [`Ring::consumer`], in place of an incarnation that is gone, as in
    /// [`Ring::take_over_producer`].
    ///
    /// # Errors
    ///
    /// [`ClaimError::Corrupt`] if what was left is not a ring: the claim stays
    /// as it was, or is given back if that was seen only after it was made.
    pub fn take_over_consumer(
        self,
        life: Life,
        unread: Unread,
    ) -> Result<Consumer<'m>, ClaimError> {
        let look = || {
            // relaxed: an old one is as good as having claimed earlier; each call loads it again.
            let peer = self.producer_epoch().load(Relaxed);
            let peer = epoch::check(ControlWord::ProducerEpoch, peer, 0)?;
            Ok((Position::load(&self)?, peer))
        };
        let ((position, peer), claim, epoch) = self.consumer_end().take(life, &look)?;
        Ok(Consumer::new(
            self,
            (position.head, peer),
            claim,
            epoch,
            unread,
        ))
    }

    /// Who holds the producing end.
    pub fn producing(&self) -> Option<Life> {
        self.producer_end().holder()
    }

    /// Who holds the consuming end.
    pub fn consuming(&self) -> Option<Life> {
        self.consumer_end().holder()
    }

    fn producer_end(&self) -> End<'m> {
        End {
            claim: self.control_word(offset_of!(RingControl, producer)),
            epoch: self.producer_epoch(),
            name: ControlWord::ProducerEpoch,
        }
    }

    fn consumer_end(&self) -> End<'m> {
        End {
            claim: self.control_word(offset_of!(RingControl, consumer)),
            epoch: self.consumer_epoch(),
            name: ControlWord::ConsumerEpoch,
        }
    }

    fn control_word(&self, offset: usize) -> Word<'m> {
        self.control.word(offset)
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

    /// Position of the payload of the record at `position`.
    #[inline(always)]
    fn payload(position: u32) -> u32 {
        position.wrapping_add(RECORD_HEADER as u32)
    }
}
