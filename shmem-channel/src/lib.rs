//! Sessions and channels: how a program talks to another partition.
//!
//! A [`Session`] is one partition's membership of a region: it is attached under a number, shows
//! that it is alive, and opens what the partitions share. A *channel* between two sessions has a
//! ring for commands, a ring for results, and a doorbell for each end; both ends open it by one
//! name. The [`Client`] sends commands and receives results, the [`Server`] receives commands and
//! sends results. [`Client::call`] sends one command and waits for its answer.
//!
//! This crate does what the crates below it leave to their callers:
//!
//! - it wakes the peer after each record;
//! - it ends a wait when the peer is gone;
//! - it sends nothing into a region that was formatted again;
//! - it reports a restart of the peer exactly once ([`Received::PeerRestarted`],
//!   [`Error::PeerRestarted`]).
//!
//! | module       | one purpose                                                    |
//! |--------------|----------------------------------------------------------------|
//! | `open`       | opening the ends of a channel                                  |
//! | `client`     | the end of a channel that sends commands                       |
//! | `server`     | the end of a channel that answers them                         |
//! | `channel`    | what both ends share: messages, and restarts of the peer       |
//! | `linux`      | memory, waiting and liveness from the Linux kernel             |
//! | `locks`      | locks that are found by name                                   |
//! | `stream`     | a byte stream over a ring                                      |
//! | `session`    | one partition's membership of a region                         |
//! | `receiver`   | the receiving end of one ring                                  |
//! | `sender`     | the sending end of one ring                                    |
//! | `spin`       | how often an end checks before it sleeps                       |
//! | `member`     | what each object of a session knows about it                   |
//! | `wait`       | a wait with a deadline on a platform                           |
//! | `platform`   | what a session needs from its platform                         |
//! | `error`      | the errors of sessions and channels                            |
//!
//! A module imports only modules below it in this list.
//!
//! # Features
//!
//! Without features the crate is `no_std` and does not allocate. The feature `linux` needs `std`
//! and adds sessions over files and memfds ([`Session::create_file`]), [`SameKernel`], and byte
//! streams.
//!
//! # Examples
//!
//! Two partitions in one program. The programs in `examples/` are separate processes: `ping`,
//! `rpc`, `stream`, `counter`, and `vendor`, which shows the platform of a hypervisor vendor.
//!
//! ```
//! # #[cfg(feature = "linux")] {
//! use core::time::Duration;
//! use shmem_channel::{Error, Incoming, Session};
//!
//! let first = Session::create_memfd("demo", 1 << 20, 1)?;
//! let second = Session::join_fd(first.share()?, 2)?;
//! std::thread::scope(|scope| {
//!     scope.spawn(|| {
//!         let mut server = first.server("words")?;
//!         let mut buffer = [0; 64];
//!         match server.recv(&mut buffer, Duration::from_secs(5))? {
//!             Incoming::Call { call, len } => {
//!                 buffer[..len].reverse();
//!                 server.answer(call, &buffer[..len], Duration::from_secs(5))
//!             }
//!             other => panic!("{other:?}"),
//!         }
//!     });
//!     let mut client = second.client("words")?;
//!     let mut answer = [0; 64];
//!     let len = client.call(b"stressed", &mut answer, Duration::from_secs(5))?;
//!     assert_eq!(&answer[..len], b"desserts");
//!     Ok::<(), Error>(())
//! })?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![deny(missing_docs, unsafe_op_in_unsafe_fn)]

#[cfg(feature = "linux")]
extern crate std;

mod channel;
mod client;
mod error;
mod locks;
mod member;
mod open;
mod platform;
mod receiver;
mod sender;
mod server;
mod session;
mod spin;
mod wait;

#[cfg(all(feature = "linux", target_os = "linux"))]
mod linux;
#[cfg(all(feature = "linux", target_os = "linux"))]
mod stream;

pub use client::{Client, PendingCall};
pub use error::Error;
pub use open::ChannelOptions;
pub use platform::{Platform, PlatformHandle, SpinPlatform, WakeReason};
pub use receiver::{Received, Receiver, Record};
pub use sender::Sender;
pub use server::{Call, Incoming, Server};
pub use session::{Session, SessionOptions};
pub use wait::{Waiter, FOREVER};

pub use shmem_core::ring::OnRestart;
pub use shmem_core::Incarnation;
pub use shmem_sync::LockError;

#[cfg(all(feature = "linux", target_os = "linux"))]
pub use linux::{
    next_boot, receive_memory, send_memory, HeartbeatThread, PollPlatform, SameKernel,
};
#[cfg(all(feature = "linux", target_os = "linux"))]
pub use stream::{ByteReceiver, ByteSender};

/// The README's program runs with the documentation tests.
#[cfg(all(doctest, feature = "linux", target_os = "linux"))]
#[doc = include_str!("../README.md")]
struct Readme;
