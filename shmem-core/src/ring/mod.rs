//! Single-producer, single-consumer queue of variable-length records.
//!
//! A record is published by its own header word, so that a small one moves one
//! line between the processors, not two. The next header is zeroed before, so
//! that old payload is never taken for a header, and a producer that dies
//! leaves whole records or none.
//!
//! - **R1** Only the producer stores `tail`, headers and payload; only the
//!   consumer stores `head` and `position`.
//! - **R2** The producer's position is at most a capacity, less 8, further than `head`,
//!   modulo 2^32; capacity is a power of two; positions are multiples of 8.
//! - **R3** Bytes from `head` to the end of the last published record are the consumer's,
//!   the rest the producer's; a header's store gives bytes to the consumer, `head`'s store
//!   gives them back. An end's own position is private. In memory `head` and `tail` lag
//!   behind it, between calls by less than an eighth of the ring; `position` is stored at once.
//! - **R4** The header after the last published record is zero. It lies in the
//!   producer's part, so 8 bytes always stay free.
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
//! What R7 and R8 do not promise: the stores between one look and the next are not one step. Of a
//! producer that is stopped there at most one record (or batch) is under way: its late stores go to
//! the free bytes that its successor writes from the same position on, and can garble or hide what
//! that one pushed there, or make it corrupt. Of a consumer it is one store of `discarded`, of
//! `position` and of `head`. Of one that is stopped while it claims the end it is one of its epoch,
//! and while it gives it back, one of the claim. Of one that runs on at the very moment of the
//! takeover, an `Ok` without a `notify` can be of a record that the successor overwrites, for as
//! long as a store takes to be seen. Hence an end is taken over from who is *gone*, and R7 tells
//! who was not.
//!
//! | store                           | paired load              | hands over    |
//! |---------------------------------|--------------------------|---------------|
//! | header in `Producer::publish_header`    | header in `Consumer::find` and `header`, `resume::producer` | a record  |
//! | `head` in `Consumer::store_head`      | `head` in `Producer::load_head`, `Positions::load` | free bytes |
//! | `tail` in `Producer::store_tail`      | `tail` in `Positions::load` | the headers before it |
//! | fence in `Consumer::discard`, `position` | `position` in `resume::consumer` | what was discarded |
//! | `producer_epoch` in `epoch::End::acquire` | `producer_epoch` in `Consumer::next_slow` | what earlier producers published |
//! | claim in `Claim::release`     | claim in `claim::End::check`, fence in `claim::End::acquire` | an end of the ring |
//!
//! R1, R3, R4 bind honest peers (`tests/loom_ring.rs`). R2 and R5 are checked
//! on every word a peer stores: a hostile one may garble records, never take us
//! out of bounds. `tail` and `position` in memory are for recovery and inspection alone.

mod claim;
mod consumer;
mod epoch;
mod error;
mod fetch;
mod header;
pub mod inspect;
mod memory;
mod producer;
mod record;
mod resume;
#[cfg(feature = "std")]
mod stream;
mod unpublished;

pub use crate::claim::OnRestart;
pub use consumer::{Consumer, DISCARDS};
pub use error::{ClaimError, GeometryError, PopError, PushError};
pub use memory::Ring;
pub use producer::Producer;
pub use record::Record;
#[cfg(feature = "std")]
pub use stream::{ByteReader, ByteWriter};
pub use unpublished::{Batch, Reservation};
