//! Identifier to segment: a table and an allocator inside a region.
//!
//! The first partition that names an identifier inserts a row and allocates
//! the segment; every later one gets the same segment, under any number of
//! racing partitions (the 2012 paper, section 2.3). Lookup is loads only and
//! O(1). Creation is lock-free: it needs compare-and-swap, and a partition that
//! dies in the middle of it blocks nobody.
//!
//! | module        | one purpose                                        |
//! |---------------|----------------------------------------------------|
//! | [`id`]        | identifiers, names, kinds                          |
//! | [`layout`]    | offsets of the table                               |
//! | [`geometry`]  | where everything lies, from three numbers          |
//! | `alloc`       | which blocks belong to which row                   |
//! | `segment`     | a segment, once it is found                        |
//! | [`table`]     | the registry, and looking things up                |
//! | `create`      | how a segment is created                           |
//! | [`partition`] | who is attached, and whether it lives              |
//!
//! # Examples
//!
//! ```
//! # #[cfg(feature = "std")] {
//! use shmem_core::region::{Mapping, Region};
//! use shmem_core::ring::Ring;
//! use shmem_registry::{Geometry, Kind, Registry, Request};
//!
//! let memory = Mapping::memfd("demo", 1 << 20)?;
//! let region = Region::format(memory.window(), 0)?;
//! let registry = Registry::format(region, Geometry::default())?;
//!
//! let request = Request::named("commands", Kind::RING, Ring::segment_len(4096))?;
//! let mine = registry.open_or_create(1, &request)?;
//! let peers = registry.open_or_create(2, &request)?;
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
pub mod layout;
pub mod partition;
pub mod table;

mod alloc;
mod create;
mod error;
mod segment;

pub use error::{FormatError, OpenError, RequestError};
pub use geometry::Geometry;
pub use id::{Id, Kind, Name, Request};
pub use partition::{Partition, Presence};
pub use segment::Segment;
pub use table::Registry;

/// The README's program is compiled and run with the documentation tests.
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../../README.md")]
struct Readme;
