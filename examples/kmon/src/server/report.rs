//! Tells the client that starts a server how that went: lines of JSON on the server's standard
//! output.

use std::io::Write;

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The server does not run.
    Failed(String),
    /// Another server has the run directory.
    InUse,
    /// The server answers; its instances are being started.
    Serving,
    /// An instance does not run.
    Problem(String),
    /// All instances were started; `false` if none of them runs.
    Started(bool),
}

impl Report {
    /// Writes the report.
    pub(super) fn write(&self) {
        let line = serde_json::to_string(self).unwrap_or_default();
        // A client that is gone needs no report.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}
