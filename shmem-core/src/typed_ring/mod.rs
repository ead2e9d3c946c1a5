//! Single-producer, single-consumer ring of records of one type.
//!
//! One store of a word with the end's position publishes. The word also contains the end's *epoch*,
//! which counts the changes of its holder. So a peer detects a restart from the same word that it
//! polls, and records have no headers.
//!
//! An end stores only into words of its own epoch: of each kind there are four, selected by the
//! epoch modulo 4. So a late store of an evicted end does not overwrite the words of its
//! successor.
//!
//! - **P1** Only the producer stores `tails`, `producer_starts`, `addressed` and slots; only
//!   the consumer stores `heads`, `consumer_starts`, `positions`, `known_producers`, `accepted`
//!   and `discarded`.
//! - **P2** `head <= position <= tail <= head + slots`, modulo 2^16; slots are a power of two,
//!   at most 2^15. Each end keeps its position in private memory.
//! - **P3** Slots from `position` to `tail` are the consumer's, those from `tail` to `head +
//!   slots` the producer's. `head` lags `position`, between calls by less than an eighth
//!   of the ring.
//! - **P4** The latest epoch among an end's starts is the end's epoch. A producer's start is the
//!   position of its first record. Records before it are from earlier producers, whatever a
//!   word of theirs contains.
//! - **P5** A claimant stores its start first, and checks its claim again before it stores
//!   anything else. If a claimant is stopped before the store of its start, another one can take
//!   the same epoch. Then the first one stores nothing more. Their starts are equal, except for a
//!   record that was not acknowledged.
//! - **P6** An end checks its claim before the first store of a call, and again before the
//!   return. An end that finds another claim is *evicted*, permanently: it stores nothing more,
//!   not even when it is dropped.
//!   If the last check finds the eviction, the start of the successor decides the result: whether
//!   the successor found the records that the call published, or receives those that it released.
//! - **P7** A successor stores its claim, executes a full fence, and resumes from what it finds
//!   then. It finds the effect of each call that returned `Ok` before the store of that claim.
//!   If an end is stopped anywhere in a call that later returns `Ok`, the successor finds its
//!   effect too. It also finds everything before an `Ok` of `notify`.
//! - **P8** `addressed` contains the epoch of the consumer that the producer's records are for,
//!   and the position of the first one; 0 means the first consumer. A consumer of commands
//!   discards records that are not for it, and all records of earlier producers.
//! - **P9** With each call, a producer checks whether the consumer's end was claimed again. It
//!   loads a word in a line that consumers write only when they claim the end.
//!
//! P6 and P7 have limits:
//!
//! - A producer that is stopped in the middle of a copy and evicted completes the copy when it
//!   runs again. That garbles slots of this one call which its successor has written meanwhile,
//!   and the first word of lines that are fetched ahead. It never garbles more, and nothing
//!   before its successor's start. It neither repeats nor loses a record.
//! - If an end is stopped while it releases its claim, that store can arrive late, and evicts its
//!   successor.
//! - Four successors later, late stores overwrite words that are in use again. The end that uses
//!   them restores them at its next poll, `notify` or wait; until then its peer finds nothing new.
//! - If an end runs at the very moment of the takeover and calls no `notify`, its last stores may
//!   not be visible to the successor yet. Then the successor can overwrite a record whose push
//!   returned `Ok`, or receive a record that the end popped.
//!
//! Hence an end is taken over only from an incarnation that is *gone*, and P6 reports to one
//! that was not.
//!
//! | store                          | paired load                            | hands over         |
//! |--------------------------------|----------------------------------------|--------------------|
//! | `tails` in `publish`           | `tails` in `poll_once`, `progress`     | records            |
//! | `heads` in `advance`           | `heads` in `poll_consumer`, `progress` | slots              |
//! | `positions` in `advance`       | `positions` in `progress`              | released records   |
//! | `producer_starts` in a claim   | `producer_starts` in `note_producers`  | earlier records    |
//! | `consumer_starts` in a claim   | `consumer_starts` in `note_consumer`   | earlier releases   |
//! | claim in `Claim::release`      | claim in `check`, fence in `acquire`   | an end             |
//! | size, fence in `agree_on_size` | size after the fence, of the other end | the size agreed on |
//!
//! P1, P3 and P5 hold for honest peers (`tests/loom_typed_ring.rs`). P2 is checked on every word
//! that a peer stores: a hostile one may garble records, but never cause an access out of bounds.
//!
//! # Examples
//!
//! ```
//! # #[cfg(feature = "linux")] {
//! use shmem_core::region::Mapping;
//! use shmem_core::typed_ring::{PopError, TypedRing, OnRestart};
//! use shmem_core::Incarnation;
//!
//! /// A sample of a sensor: its number and its value, little-endian.
//! type Sample = [[u8; 4]; 2];
//!
//! let memory = Mapping::memfd("samples", TypedRing::<Sample>::segment_len(1024))?;
//! let ring = TypedRing::<Sample>::attach(memory.window())?;
//! let mut producer = ring.claim_producer(Incarnation::first(1))?;
//! let mut consumer = ring.claim_consumer(Incarnation::first(2), OnRestart::Keep)?;
//!
//! producer.push(&[1_u32.to_le_bytes(), 20_u32.to_le_bytes()])?;
//! let sent = producer.push_slice(&[[[2, 0, 0, 0], [21, 0, 0, 0]], [[3, 0, 0, 0], [22, 0, 0, 0]]])?;
//! assert_eq!(sent, 2);
//!
//! let [number, value] = consumer.pop()?.map(u32::from_le_bytes);
//! assert_eq!((number, value), (1, 20));
//! let mut samples = [Sample::default(); 8];
//! assert_eq!(consumer.pop_slice(&mut samples)?, 2);
//! assert_eq!(consumer.pop(), Err(PopError::Empty));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod claim;
mod consumer;
mod control;
mod error;
mod fetch;
pub mod inspect;
mod memory;
mod poll;
mod producer;
mod stamp;

pub use crate::claim::OnRestart;
pub use consumer::TypedConsumer;
pub use error::{AttachError, ClaimError, PopError, PushError};
pub use memory::TypedRing;
pub use producer::TypedProducer;
