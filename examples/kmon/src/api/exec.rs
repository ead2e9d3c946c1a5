//! The messages of a command in an instance.
//!
//! The client sends a [`Request`]. The server sends the output in binary messages, whose first
//! byte is the stream (1 or 2), and at the end an [`Ended`]. The client may send [`Stop`].

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fault::Fault;

/// The first byte of a message with standard output, and with standard error.
pub(crate) const STDOUT: u8 = 1;
pub(crate) const STDERR: u8 = 2;

/// The first message of the client.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// The command gets SIGTERM after this many seconds, and SIGKILL 2 s later.
    #[serde(default)]
    pub(crate) timeout_s: Option<f64>,
}

/// A later message of the client. The command gets SIGTERM, and SIGKILL 2 s later or when the
/// message comes again. Its remaining output is dropped.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stop {
    pub(crate) kill: bool,
}

/// The last message of the server.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Last {
    Ended(Ended),
    Error(Fault),
}

/// How a command ended. One of the first four is set.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Ended {
    pub(crate) exit_status: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) timed_out: bool,
    /// Why it was not started.
    pub(crate) error: Option<String>,
    /// Bytes of output that KMON did not receive in time.
    pub(crate) dropped_bytes: u64,
    /// Bytes of output that were dropped because the client had stopped the command.
    pub(crate) skipped_bytes: u64,
}
