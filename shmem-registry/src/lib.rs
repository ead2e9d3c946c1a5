//! Maps identifiers to segments: a table and an allocator inside a region.
//!
//! The first partition that uses an identifier inserts a row and allocates the segment; every later
//! one gets the same segment, even if many partitions race. Lookup is loads only and O(1). Creating
//! and removing are lock-free and need compare-and-swap. A partition that dies in the middle blocks
//! no other; [`Registry::reap`] frees what it leaves.
//!
//! | module        | one purpose                                              |
//! |---------------|----------------------------------------------------------|
//! | [`inspect`]   | the tables as an inspection tool sees them               |
//! | `process`     | whether the process of an incarnation has ended          |
//! | [`liveness`]  | whether an incarnation is silent, by its heartbeat       |
//! | `remove`      | removing segments, and reaping what dead partitions left |
//! | `create`      | creating segments                                        |
//! | [`table`]     | looking segments up                                      |
//! | `release`     | releasing a row, and taking it down                      |
//! | `alloc`       | which blocks belong to which row                         |
//! | `row`         | who owns a row                                           |
//! | `claimant`    | the partition that creates or removes, and its heartbeat |
//! | [`partition`] | which partitions are attached, in which incarnation      |
//! | `chain`       | the linked rows of one bucket                            |
//! | `memory`      | the registry as a handle on the words of its tables      |
//! | `link`        | the words that link rows                                 |
//! | [`geometry`]  | the offsets of all tables, from three numbers            |
//! | [`layout`]    | the fields of the tables                                 |
//! | `error`       | the errors of the calls                                  |
//! | `segment`     | a segment that was found or created                      |
//! | [`id`]        | identifiers, names, kinds                                |
//! | `evicted`     | the error of a partition whose place another took        |
//!
//! Imports only go down this list.
//!
//! # Features
//!
//! No feature is on by default, and the crate is `no_std` without allocation.
//!
//! | feature       | adds                                                                  |
//! |---------------|-----------------------------------------------------------------------|
//! | `std`         | [`Heartbeats::new`], with the system's clock; [`std::error::Error`]   |
//! | `linux`       | `Processes`: whether a process of this kernel has ended               |
//! | `noncoherent` | cache maintenance by the program's functions, if caches need it       |
//! | `small`       | smaller, slower code                                                  |
//! | `crash`       | death at a chosen store, for tests of recovery                        |
//!
//! # Examples
//!
//! ```
//! # #[cfg(feature = "std")] {
//! use shmem_core::region::{Mapping, Region};
//! use shmem_core::ring::Ring;
//! use shmem_registry::{Geometry, Kind, Process, Registry, Request};
//!
//! let memory = Mapping::memfd("demo", 1 << 20)?;
//! let region = Region::format(memory.window())?;
//! let registry = Registry::format(region, Geometry::default())?;
//!
//! let request = Request::named("commands", Kind::RING, Ring::segment_len(4096))?;
//! let monitor = registry.attach_partition(1, Process::UNKNOWN)?;
//! let instance = registry.attach_partition(2, Process::UNKNOWN)?;
//! let mine = registry.open_or_create(&monitor, &request)?;
//! let peers = registry.open_or_create(&instance, &request)?;
//! assert_eq!(mine.offset(), peers.offset());
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(feature = "std")]
extern crate std;

pub mod geometry;
pub mod id;
pub mod inspect;
pub mod layout;
pub mod liveness;
pub mod partition;
pub mod table;

mod alloc;
mod chain;
mod claimant;
mod create;
mod error;
mod evicted;
mod link;
mod memory;
#[cfg(all(feature = "linux", target_os = "linux"))]
mod process;
mod release;
mod remove;
mod row;
mod segment;

pub use alloc::BlockOwner;
pub use claimant::Claimant;
pub use error::{OpenError, RegistryError, RemoveError};
pub use evicted::Evicted;
pub use geometry::Geometry;
pub use id::{Id, Kind, Name, Request, RequestError};
pub use liveness::{Clock, Heartbeats};
pub use memory::Registry;
pub use partition::{AttachError, Attachment, Partition, Process};
#[cfg(all(feature = "linux", target_os = "linux"))]
pub use process::Processes;
pub use remove::Unfinished;
pub use segment::Segment;

/// The README's program runs with the documentation tests.
#[cfg(all(doctest, feature = "linux", target_os = "linux"))]
#[doc = include_str!("../README.md")]
struct Readme;
