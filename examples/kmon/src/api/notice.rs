//! Notices and changes of states.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A message that no request asked for.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Notice {
    /// Counts the notices of this server from 1.
    pub(crate) sequence: u64,
    /// Milliseconds since 1970.
    pub(crate) time_ms: u64,
    pub(crate) line: String,
}

/// Notices that the server still has.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Notices {
    pub(crate) notices: Vec<Notice>,
}

/// Which notices are wanted.
#[derive(Debug, Default, Deserialize, IntoParams, Serialize)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct Since {
    /// Those after the notice with this number. Without it: all that the server still has; for
    /// events, only new ones.
    pub(crate) since: Option<u64>,
}

/// A message of the server about events.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    Notice(Notice),
    State(StateChange),
}

/// The new state of an instance.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct StateChange {
    pub(crate) instance: u8,
    pub(crate) name: String,
    /// As in the list, or `removed`.
    pub(crate) state: String,
    pub(crate) detail: Option<String>,
}
