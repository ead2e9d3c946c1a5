//! Lines of the logs on disk.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::fault::Failure;

/// Selects lines of a log on disk.
#[derive(Clone, Debug, Default, Deserialize, IntoParams, Serialize)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct LinesQuery {
    /// The log of the kernel instead of the output.
    pub(crate) kernel: bool,
    /// Also what earlier instances with the same number printed.
    pub(crate) all: bool,
    /// Lines since then: `10m`, `14:30`, `2026-11-30T11:34:56Z`.
    pub(crate) since: Option<String>,
    /// Lines that match this regular expression.
    pub(crate) grep: Option<String>,
    /// Of the lines that exist, only this many, the last ones.
    #[param(maximum = 100_000)]
    pub(crate) last: Option<u32>,
    /// Lines whose `end` is after `OUTPUT:POSITION`, the `output` and the `end` of a line.
    pub(crate) after: Option<String>,
    /// Continue with new lines.
    pub(crate) follow: bool,
}

/// A line of a log on disk, or a part of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Line {
    /// 1 for KMON's own log.
    pub(crate) instance: u8,
    /// When KMON received its first byte, in UTC.
    pub(crate) time: String,
    /// Identifies the output of which the positions count the bytes.
    pub(crate) output: String,
    /// The positions of the first byte, and after the last one.
    pub(crate) position: u64,
    pub(crate) end: u64,
    /// The text without escape sequences; `null` where bytes are missing.
    pub(crate) text: Option<String>,
    /// The line continues in the next one.
    pub(crate) unfinished: bool,
    /// Bytes that are missing here. They have positions unless the instance has dropped them.
    pub(crate) missed_bytes: u64,
    /// Whose output begins here, such as `instance 2 (web)`. Such a line has no text.
    pub(crate) begins: Option<String>,
}

/// What a client receives.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Received {
    Line(Line),
    /// The log cannot be read any further.
    Failure(Failure),
}
