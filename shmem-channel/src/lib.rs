//! Sessions and channels: what a program uses to talk to another partition.
//!
//! A [`Session`] is one partition's membership of a region: it is attached under a
//! number, shows that it is alive, and opens what the partitions share. A *channel* on
//! it is a command ring and a result ring, found by one name, with both doorbells. The
//! [`Client`] sends commands and receives results; the [`Server`] receives commands and
//! sends results; [`Client::call`] sends one command and waits for its answer.
//!
//! What the layers below leave to their callers is done here: the peer is woken after
//! every record, a wait ends when the peer is gone, a record is never sent into a region
//! that was formatted again, and a restart of the peer is reported exactly once
//! ([`Received::PeerRestarted`], [`Error::PeerRestarted`]).
//!
//! | module       | one purpose                                                    |
//! |--------------|----------------------------------------------------------------|
//! | `open`       | how the ends of a channel are opened                           |
//! | `client`     | the end of a channel that sends commands                       |
//! | `server`     | the end of a channel that answers them                         |
//! | `channel`    | what both ends share: messages, and the peer's restarts        |
//! | `linux`      | memory, waiting and liveness from the Linux kernel             |
//! | `locks`      | locks that are found by name                                   |
//! | `stream`     | bytes without boundaries over a ring                           |
//! | `session`    | one partition's membership of a region                         |
//! | `receiver`   | one ring's records, received                                   |
//! | `sender`     | one ring's records, sent                                       |
//! | `member`     | what everything in a session knows of it                       |
//! | `wait`       | a wait with a deadline on a platform                           |
//! | `platform`   | what a partition needs from where it runs                      |
//! | `error`      | what can go wrong                                              |
//!
//! Imports go down that list.
//!
//! # Features
//!
//! The crate is `no_std` without allocation. `linux` (which needs `std`):
//! sessions over files and memfds ([`Session::create_file`]), [`SameKernel`], byte streams.
//!
//! # Examples
//!
//! Two partitions in one program. `examples/` has them as processes: `ping`, `rpc`, `stream`,
//! `counter`, and a hypervisor vendor's side, `vendor`.
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

pub use client::{Answering, Client};
pub use error::Error;
pub use open::ChannelOptions;
pub use platform::{Platform, PlatformHandle, Reason, Spinning};
pub use receiver::{Received, Receiver, Record};
pub use sender::Sender;
pub use server::{Call, Incoming, Server};
pub use session::{Session, SessionOptions};
pub use wait::{Waiter, FOREVER};

#[cfg(all(feature = "linux", target_os = "linux"))]
pub use linux::{next_boot, receive_memory, send_memory, Beating, Polling, SameKernel};
#[cfg(all(feature = "linux", target_os = "linux"))]
pub use stream::{ByteReceiver, ByteSender};

/// The README's program is compiled with the documentation tests.
#[cfg(all(doctest, feature = "linux"))]
#[doc = include_str!("../../README.md")]
struct Readme;
