//! A server for QEMU's `ivshmem-doorbell` device, its client, and both as a library.
//!
//! The server hands each peer, a virtual machine or a process of the host, the shared
//! memory, and eventfds by which every peer interrupts every other: from then on they
//! need it no more. So a monitor on the host is a peer of guests, in interrupts too.
//!
//! The protocol is version 0 of "The ivshmem Client-Server Protocol" in QEMU's
//! `docs/specs/ivshmem-spec`. The connection is one-way: a message is a little-endian
//! number of 8 bytes, with a descriptor or without.
//!
//! | number            | descriptor | means                                             |
//! |-------------------|------------|---------------------------------------------------|
//! | 0, first          | no         | the protocol's version                            |
//! | 0 to 65535, next  | no         | the receiver's own number                         |
//! | -1                | the memory | the memory that all share                         |
//! | another's number  | an eventfd | rings the next vector, from 0, of that peer       |
//! | one's own number  | an eventfd | is rung for the next vector, from 0, of one's own |
//! | another's number  | no         | that peer has left                                |
//!
//! | module     | one purpose                                       |
//! |------------|---------------------------------------------------|
//! | [`server`] | who is a peer, and telling the others             |
//! | [`client`] | being a peer                                      |
//! | `socket`   | the name that peers connect to                    |
//! | `wire`     | one message                                       |
//! | `memory`   | where the memory comes from, as a word            |
//! | [`peer`]   | a peer to look and to try with: `ivshmem-peer`    |
//! | `cli`, `program`, `daemon` | the program `ivshmem-server`      |
//!
//! Every peer is trusted with all of the memory, and to ring every other: the socket is
//! for its owner alone (mode 0600). None is trusted to read, to be quiet, or to live.
//!
//! An eventfd is one object however many processes have it, and `O_NONBLOCK` belongs to
//! the object: QEMU sets it, so does this library. Poll before reading; `EventWait` does.

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
