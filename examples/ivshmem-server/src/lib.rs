//! A server and a client for QEMU's `ivshmem-doorbell` device, as programs and as a library.
//!
//! The server gives each peer, a virtual machine or a process of the host, the shared memory,
//! and eventfds by which every peer interrupts every other. After that the peers do not need
//! the server. So a monitor on the host is a peer of guests, including interrupts.
//!
//! The protocol is version 0 of "The ivshmem Client-Server Protocol" in QEMU's
//! `docs/specs/ivshmem-spec`. Only the server sends: a message is a little-endian number of
//! 8 bytes, with a descriptor or without.
//!
//! | number            | descriptor | means                                             |
//! |-------------------|------------|---------------------------------------------------|
//! | 0, first          | no         | the protocol's version                            |
//! | 0 to 65535, next  | no         | the receiver's own number                         |
//! | -1                | the memory | the memory that all peers share                   |
//! | another's number  | an eventfd | notifies that peer's next vector, from 0          |
//! | the own number    | an eventfd | is notified for the own next vector, from 0       |
//! | another's number  | no         | that peer has left                                |
//!
//! | module     | one purpose                                       |
//! |------------|---------------------------------------------------|
//! | [`server`] | which peers exist, and their messages             |
//! | [`client`] | a peer                                            |
//! | `socket`   | the socket to which peers connect                 |
//! | `wire`     | one message                                       |
//! | `memory`   | the place of the memory, as a word                |
//! | [`peer`]   | a peer for tests by hand: `ivshmem-peer`          |
//! | `cli`, `program`, `daemon` | the program `ivshmem-server`      |
//!
//! The server trusts every peer to use the memory and to notify every other. Only the socket's
//! owner may connect (mode 0600). No peer is trusted to read, to send nothing, or to stay alive.
//!
//! All processes that have an eventfd share one object, and `O_NONBLOCK` belongs to the object:
//! QEMU sets it, and so does this library. Poll before reading, as `EventWait` does.

mod cli;
pub mod client;
mod daemon;
mod memory;
pub mod peer;
mod program;
pub mod server;
mod socket;
mod wire;

pub use client::{Change, Client, ClientError};
pub use peer::run as run_peer;
pub use program::run as run_server;
pub use server::{Event, Limits, Reason, Running, ServeError, Server};
