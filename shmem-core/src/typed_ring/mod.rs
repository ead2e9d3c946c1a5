//! Single-producer, single-consumer ring of records of one type.
//!
//! One store publishes, of the word that says how far its end is. It carries the end's *epoch*,
//! which counts the incarnations that had that end: so the very word that a peer looks at says
//! whether the peer was restarted, and no record carries a header.
//!
//! An end stores only into words of its own epoch: of each kind there are four, for the epochs
//! modulo 4. So what an end stores late, after another has taken it over, does not meet
//! what its successor has stored.
//!
//! - **P1** Only the producer stores `tails`, `producer_starts`, `addressed` and slots; only
//!   the consumer stores `heads`, `consumer_starts`, `positions`, `known_producers`, `accepted`
//!   and `discarded`.
//! - **P2** `head <= position <= tail <= head + slots`, modulo 2^16; slots are a power of two,
//!   at most 2^15. An end's own position is private.
//! - **P3** Slots from `position` to `tail` are the consumer's, those from `tail` to `head +
//!   slots` the producer's. `head` lags behind `position`, between calls by less than an eighth
//!   of the ring.
//! - **P4** The latest epoch of an end's starts is the end's epoch. Its start says from which
//!   position on records are its own; those before it are of earlier producers, whatever
//!   a word of theirs says.
//! - **P5** A claimant stores its start first, and everything else after another look at
//!   its claim. Where two take the same epoch, because the first one stopped before that
//!   store, that one stores nothing more; its start is the other's, but for a record that was
//!   not acknowledged.
//! - **P6** An end looks at its claim before the first store of a call, and once more before its
//!   answer. A claim that is not its own makes it *evicted*, for good: it stores nothing more,
//!   also not when it is dropped.
//!   Where it finds itself evicted in the end, its successor's start says whether what the
//!   call published is there, or whose what it released is.
//! - **P7** A successor stores its claim, then a full fence, and goes on from what it finds
//!   then. What an end was answered `Ok` for before that claim was stored is found; so is
//!   what one that was stopped anywhere in the call was answered `Ok` for after that, and
//!   all before an `Ok` of `notify`.
//! - **P8** `addressed` says for which consumer the producer's records are, and from which
//!   position on; for 0 they are for the first consumer. A consumer of commands discards what
//!   is not for it, and all of earlier producers.
//! - **P9** A producer looks with each call whether its consumer's end was claimed again: at a word
//!   in a line that consumers write when they claim it, and at no other time.
//!
//! What P6 and P7 do not promise: a producer that is stopped in the middle of a copy, taken over
//! and let go on completes it. That garbles those slots of this one call which its successor has
//! written meanwhile, and the first word of lines that are fetched ahead; never more, and
//! never what is before its successor's start. No record comes twice or is lost by it. Of an end
//! that is stopped while it gives its claim back, the claim can arrive late, and evicts its
//! successor. Four successors later, late stores meet words that are in use again: whoever
//! uses them stores them again at its next look at the peer, `notify` or wait, and until
//! then its peer finds nothing new there. Of an end that runs on at the very moment of the
//! takeover, an `Ok` without a `notify` can be of a record that the successor overwrites, or get
//! a record that the successor gets, too, for as long as a store takes to be seen. Hence an end
//! is taken over from who is *gone*, and P6 tells who was not.
//!
//! | store                               | paired load                              | hands over  |
//! |-------------------------------------|------------------------------------------|-------------|
//! | `tails` in `TypedProducer::publish` | `tails` in `poll_once`, `progress`       | records     |
//! | `heads` in `TypedConsumer::advance` | `heads` in `TypedProducer::poll_consumer`, `progress` | slots   |
//! | `positions` in `advance`            | `positions` in `progress`                | what was released |
//! | `producer_starts` in a claim        | `producer_starts` in `note_producers`    | what earlier producers published |
//! | `consumer_starts` in a claim        | `consumer_starts` in `note_consumer`     | what earlier consumers released |
//! | claim in `Claim::release`         | claim in `End::check`, fence in `End::acquire` | an end   |
//! | size, fence in `agree_on_size`      | size after the fence, of the other end   | that both agree |
//!
//! P1, P3 and P5 bind honest peers (`tests/loom_typed_ring.rs`). P2 is checked on every word a
//! peer stores: a hostile one may garble records, never take us out of bounds.
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
//! let mut producer = ring.producer(Incarnation::first(1))?;
//! let mut consumer = ring.consumer(Incarnation::first(2), OnRestart::Keep)?;
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
