//! What the thread and the tasks of a session share.

use std::sync::atomic::{AtomicBool, AtomicU64};

use crate::api::fault::Fault;
use crate::api::files::Request;

/// A message of the client.
pub(super) enum Sent {
    Request(Request),
    Bytes(Vec<u8>),
    /// It is not as the API describes it.
    Wrong(Fault),
}

/// What the thread and the tasks share.
#[derive(Default)]
pub(super) struct Session {
    /// Bytes of messages that the thread has not taken.
    pub(super) queued: AtomicU64,
    /// The copy is to end.
    pub(super) stop: AtomicBool,
}
