//! The client: speaks with the server, and starts it where there is none.
//!
//! | module      | one purpose                                             |
//! |-------------|---------------------------------------------------------|
//! | [`session`] | a client that follows the server's notices              |
//! | [`socket`]  | WebSockets, without a runtime                           |
//! | [`request`] | one request and its answer                              |
//! | [`lines`]   | an answer that is a stream of lines                     |
//! | [`starter`] | starts a server                                         |

mod lines;
mod request;
mod session;
mod socket;
mod starter;

pub(crate) use lines::{Lines, Next};
pub(crate) use request::{Client, patience};
pub(crate) use session::{Followed, follow_notices};
pub(crate) use socket::{Received, Socket};
pub(crate) use starter::{Joined, join_or_start};
