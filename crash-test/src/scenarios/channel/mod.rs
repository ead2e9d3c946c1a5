//! Sessions and channels whose partitions die.

mod answerer;
mod caller;
mod calls;
mod ends;
mod host;
mod journal;
mod known_peer;
mod messages;
mod reception;
mod session;

pub(crate) use calls::CALL;
pub(crate) use ends::{CLIENT, COMMANDS, RESULTS, SERVER, ring};
pub(crate) use messages::CHANNEL;
pub(crate) use session::{SESSION, slot};
