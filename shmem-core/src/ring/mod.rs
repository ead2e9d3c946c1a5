//! Single-producer, single-consumer queue of variable-length records.
//!
//! The header word of a record publishes it, so that a small record moves one
//! line between the processors, not two. The producer zeroes the next header before
//! that. So old payload is never read as a header, and a producer that dies leaves
//! whole records or none.
//!
//! - **R1** Only the producer stores `tail`, headers and payload; only the
//!   consumer stores `head` and `position`.
//! - **R2** The producer's position is at most capacity - 8 ahead of `head`,
//!   modulo 2^32; capacity is a power of two; positions are multiples of 8.
//! - **R3** Bytes from `head` to the end of the last published record are the consumer's,
//!   the rest the producer's. The store of a header passes bytes to the consumer, the store of
//!   `head` passes them back. Each end keeps its position in private memory. In shared memory
//!   `head` and `tail` lag, between calls by less than an eighth of the ring; `position` does not.
//! - **R4** The header after the last published record is zero. It lies in the
//!   producer's part, so 8 bytes always stay free.
//! - **R5** A record is contiguous. If it does not fit before the end of the data, a
//!   padding record fills the rest. Hence no record is longer than half of the ring.
//! - **R6** A record carries the epochs of both ends as its producer knows them: which
//!   producer it is from and which consumer it is for. `epoch` explains their use.
//! - **R7** An end checks its claim before the first store of a call, and before each store
//!   that passes bytes on (a header, `head`). A producer checks it again between the store of a
//!   header and the return. An end that finds another claim is *evicted*, permanently: it
//!   stores nothing more, not even when it is dropped.
//! - **R8** A successor stores its claim, executes a full fence, and resumes from what it
//!   finds then (E4). It finds each record whose push returned `Ok` before the store of that
//!   claim. If a producer is stopped anywhere in a push that later returns `Ok`, the
//!   successor finds that record too. It also finds all records before an `Ok` of `notify`.
//!
//! R7 and R8 have limits, because the stores between one check and the next are not atomic:
//!
//! - A producer that is stopped there has at most one record (or batch) in progress. Its late
//!   stores go to free bytes, which its successor also writes. They can garble or hide a
//!   record of the successor, or make the ring corrupt.
//! - A consumer that is stopped there can make one late store each of `discarded`, `position`
//!   and `head`.
//! - An end that is stopped while it claims can store its epoch late; one that is stopped
//!   while it releases the end can store the claim late.
//! - If a producer runs at the very moment of the takeover and calls no `notify`, its last stores
//!   may not be visible to the successor yet. Then the successor can overwrite a record whose push
//!   returned `Ok`.
//!
//! Hence an end is taken over only from an incarnation that is *gone*, and R7 reports to one
//! that was not.
//!
//! | store                          | paired load                              | hands over      |
//! |--------------------------------|------------------------------------------|-----------------|
//! | header in `publish_header`     | `find`, `header`, `resume::producer`     | a record        |
//! | `head` in `store_head`         | `head` in `load_head`, `Positions::load` | free bytes      |
//! | `tail` in `store_tail`         | `tail` in `Positions::load`              | earlier headers |
//! | fence in `discard`, `position` | `position` in `resume::consumer`         | discard count   |
//! | epoch in `End::acquire`        | `producer_epoch` in `next_slow`          | earlier records |
//! | claim in `Claim::release`      | claim in `check`, fence in `acquire`     | an end          |
//!
//! R1, R3, R4 hold for honest peers (`tests/loom_ring.rs`). R2 and R5 are checked
//! on every word that a peer stores: a hostile one may garble records, but never cause an
//! access out of bounds. `tail` and `position` in memory serve recovery and inspection only.

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
pub use consumer::{Consumer, MAX_DISCARDS};
pub use error::{ClaimError, GeometryError, PopError, PushError};
pub use memory::Ring;
pub use producer::Producer;
pub use record::Record;
#[cfg(feature = "std")]
pub use stream::{ByteReader, ByteWriter};
pub use unpublished::{Batch, Reservation};
