//! Memory shared between partitions: regions, rings, snapshots and doorbells.
//!
//! A *partition* is anything that can fail independently of the others: an operating system, a
//! bootloader, a monitor, a process. Partitions share a *region*, a range of reserved memory that
//! each maps at an address of its own. The peer may be another kernel, another architecture,
//! hostile, or dead. Therefore a region contains no pointers and no `usize`, and no content is
//! trusted. `docs/layout.md` specifies every byte.
//!
//! | module          | one purpose                                               |
//! |-----------------|-----------------------------------------------------------|
//! | [`ring`]        | one producer, one consumer, records of any length         |
//! | [`typed_ring`]  | one producer, one consumer, records of one type           |
//! | [`snapshot`]    | the latest value of one writer, for any number of readers |
//! | [`call`]        | a command and its answer in one cache line                |
//! | [`doorbell`]    | "look again", rung only for a peer that sleeps            |
//! | [`wait`]        | how a partition waits for its peer                        |
//! | `claim`         | which incarnation has an end of a ring                    |
//! | `pace`          | how long a consumer pauses after it has caught up         |
//! | [`region`]      | a range with a header, and how to map one                 |
//! | [`liveness`]    | whether a partition is alive, silent or gone              |
//! | [`incarnation`] | which run of which partition                              |
//! | `error`         | the error for a peer that broke the protocol              |
//! | [`layout`]      | offsets and constants                                     |
//! | [`mem`]         | bounds-checked windows on shared memory                   |
//! | [`primitive`]   | the switch between the machine's memory and loom's        |
//!
//! Imports only go down that list (`cargo xtask layers` checks it). Rings, snapshots and doorbells
//! use plain loads, stores and fences only; nothing here needs an atomic read-modify-write.
//!
//! # Features
//!
//! No feature is on by default, and the crate is `no_std` without allocation.
//!
//! | feature       | adds                                                                |
//! |---------------|---------------------------------------------------------------------|
//! | `alloc`       | regions on the heap, for tests                                      |
//! | `std`         | [`std::io`] adaptors                                                |
//! | `linux`       | mappings ([`region`])                                               |
//! | `noncoherent` | cache maintenance by the program's functions, if caches need it     |
//! | `small`       | smaller, slower code                                                |
//! | `crash`       | death at a chosen store, for tests of recovery                      |
//!
//! # Examples
//!
//! ```
//! # #[cfg(feature = "linux")] {
//! use shmem_core::region::{Mapping, Region};
//! use shmem_core::Incarnation;
//! use shmem_core::ring::{Ring, OnRestart};
//!
//! let memory = Mapping::memfd("demo", 64 * 1024)?;
//! let region = Region::format(memory.window())?;
//! let window = region.body().sub(0, Ring::segment_len(4096))?;
//!
//! let ring = Ring::attach(window)?;
//! let mut producer = ring.claim_producer(Incarnation::first(1))?;
//! let mut consumer = ring.claim_consumer(Incarnation::first(2), OnRestart::Keep)?;
//! producer.push(b"uname -a")?;
//!
//! let mut record = [0; 64];
//! let len = consumer.pop(&mut record)?;
//! assert_eq!(&record[..len], b"uname -a");
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![deny(missing_docs, unsafe_op_in_unsafe_fn)]

#[cfg(any(feature = "alloc", loom))]
extern crate alloc;
#[cfg(any(feature = "std", loom))]
extern crate std;

pub mod primitive;

pub mod mem;

pub mod layout;

mod error;

mod claim;

mod pace;

pub mod incarnation;

pub mod liveness;

pub mod region;

pub mod wait;

pub mod doorbell;

pub mod snapshot;

pub mod call;

pub mod ring;

pub mod typed_ring;

pub use error::{ControlWord, Corrupt};
pub use incarnation::Incarnation;
pub use liveness::{AssumeAlive, Liveness, PartitionState};
pub use mem::Window;
#[cfg(all(feature = "noncoherent", not(loom)))]
pub use primitive::cache;
#[cfg(all(feature = "crash", not(loom)))]
pub use primitive::crash;
#[cfg(all(feature = "linux", target_os = "linux", not(loom)))]
pub use region::Mapping;
pub use region::Region;

/// The README's program runs with the documentation tests.
#[cfg(all(doctest, feature = "linux", target_os = "linux"))]
#[doc = include_str!("../README.md")]
struct Readme;
