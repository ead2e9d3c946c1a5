//! The messages of a console.
//!
//! The client sends an [`Open`], then typed bytes in binary messages and [`FromClient`] messages.
//! The server sends output in binary messages and [`FromServer`] messages.
//!
//! - **W1** The server sends output only after `opened`. The bytes before the first `at` (terminal
//!   modes, the last line) have no position; each later byte has the one after its predecessor's.
//! - **W2** At most [`WINDOW`] bytes of output are sent beyond the position that the client has
//!   reported as shown. So a slow client waits for nothing but itself: its position lags, and the
//!   server reports what was overwritten meanwhile.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fault::Fault;

/// Bytes in flight.
pub(crate) const WINDOW: u64 = 256 * 1024;

/// The first message of the client.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Open {
    pub(crate) mode: Mode,
    /// Take the console from the client that writes to it.
    #[serde(default)]
    pub(crate) force: bool,
    /// The size of the terminal.
    #[serde(default)]
    pub(crate) rows: Option<u16>,
    #[serde(default)]
    pub(crate) columns: Option<u16>,
    /// Where the output starts.
    #[serde(default)]
    pub(crate) from: Start,
}

/// Whether the client types.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    Write,
    View,
}

/// A place in the output.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Start {
    /// The first byte that is unseen.
    #[default]
    Seen,
    /// The oldest byte that is kept.
    Oldest,
    /// This position.
    Position(u64),
}

/// A later message of the client.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FromClient {
    /// The output before this position was shown.
    Shown(u64),
    /// The size of the terminal has changed. Ignored unless the client writes.
    Resize { rows: u16, columns: u16 },
    /// Skip the output that waits, and what is printed until it pauses. Ignored unless the client
    /// writes.
    Skip(bool),
    /// Report whether the instance waits for input, after the output before that.
    Idle(bool),
}

/// A message of the server.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromServer {
    /// The console is open.
    Opened(Opened),
    /// The position of the next byte of output.
    At(u64),
    /// This many bytes were overwritten before they were sent; `at` follows.
    Missed(u64),
    /// This many bytes were skipped on request; `at` follows.
    Skipped(u64),
    /// Another client has taken over; this one only views from now on.
    TakenBy(Holder),
    /// This many typed bytes were handled so far, including those that were refused. A client
    /// should have at most 64 KiB under way.
    Typed(u64),
    /// Typed bytes were not accepted: there is no room, or they were for an earlier shell.
    Refused(bool),
    /// Guestd was restarted as this incarnation, with a new shell.
    Restarted(u32),
    /// The answer to a query.
    Idle(bool),
    /// The instance does not run any more; no more output comes.
    Ended(OutputEnd),
    /// The console was refused.
    Error(Fault),
}

/// The state of a console that is open.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Opened {
    /// The number of the instance.
    pub(crate) instance: u8,
    /// The client that writes.
    pub(crate) writer: Option<Holder>,
}

/// The client that writes to a console.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Holder {
    pub(crate) user: String,
    pub(crate) pid: i32,
}

/// The state in which an instance's output has ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct OutputEnd {
    pub(crate) state: String,
    pub(crate) detail: Option<String>,
}
