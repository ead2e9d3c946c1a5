//! Copies files to and from an instance: the engine, which neither opens a local file nor prints.
//!
//! A thread that has the bytes, or wants them, calls [`Put`] or [`Get`]. The calls wait for the
//! instance, never with a lock held, and end when the caller's `stop` returns true. Many copies may
//! run at the same time.
//!
//! - **X1** The instance's receiving thread never waits for a copy: it puts data into the queue of
//!   the copy, which has room for all that the instance may send. More is an error of that copy.
//! - **X2** Data for the instance pass through the outbox, after everything else for it.
//! - **X3** A copy belongs to one incarnation of guestd. If that dies, the copy fails, and a repeated
//!   copy continues with what has arrived.
//!
//! | module       | one purpose                                             |
//! |--------------|---------------------------------------------------------|
//! | `inflight`   | what an instance has reported about one copy            |
//! | `error`      | why a copy failed                                       |
//! | `stream`     | one copy's exchange with the instance                   |
//! | `put`        | sends a file                                            |
//! | `get`        | receives a file or a list                               |
//! | `directory`  | requests about directories and permissions              |

mod directory;
mod error;
mod get;
mod inflight;
mod put;
mod stream;

pub(crate) use error::TransferError;
pub(crate) use get::Get;
pub(crate) use inflight::Inflight;
pub(crate) use put::{Put, PutFile};
pub(crate) use stream::Endpoint;
