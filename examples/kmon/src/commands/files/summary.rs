//! What was copied, for a person and as JSON.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::commands::print::{print, print_json};
use crate::commands::selection::Target;
use crate::text;

/// One file that was copied.
#[derive(Serialize)]
pub(super) struct CopiedFile {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) bytes: u64,
    /// Bytes that an earlier copy had left at the target.
    pub(super) resumed_at: u64,
    pub(super) mode: String,
    pub(super) sha256: String,
}

/// What was copied.
#[derive(Serialize)]
pub(super) struct Summary {
    instance: u8,
    pub(super) files: Vec<CopiedFile>,
    /// Directories that were made.
    pub(super) directories: u64,
    /// Links, devices, pipes and sockets in directories.
    pub(super) skipped: Vec<String>,
    bytes: u64,
    seconds: f64,
    error: Option<String>,
    /// The name of the instance, if there are several.
    #[serde(skip)]
    label: Option<String>,
    #[serde(skip)]
    since: Instant,
}

impl Summary {
    pub(super) fn new(target: &Target) -> Self {
        Self {
            instance: target.number,
            files: Vec::new(),
            directories: 0,
            skipped: Vec::new(),
            bytes: 0,
            seconds: 0.0,
            error: None,
            label: target.label.clone(),
            since: Instant::now(),
        }
    }

    /// Prints it, also if the command fails with `error`.
    pub(super) fn print(mut self, json: bool, error: Option<&anyhow::Error>) -> anyhow::Result<()> {
        self.bytes = self.files.iter().map(|file| file.bytes).sum();
        let time = self.since.elapsed();
        self.seconds = time.as_secs_f64();
        self.error = error.map(|error| format!("{error:#}"));
        match (json, error) {
            (true, _) => print_json(&self),
            (false, None) => {
                let label = self.label.as_ref().map(|label| format!("{label}: "));
                print(&format!("{}{}", label.unwrap_or_default(), self.line(time)))
            }
            // The error says it.
            (false, Some(_)) => Ok(()),
        }
    }

    fn line(&self, time: Duration) -> String {
        let count = self.files.len();
        let files = if count == 1 { "file" } else { "files" };
        let earlier: u64 = self.files.iter().map(|file| file.resumed_at).sum();
        let seconds = time.as_secs_f64().max(0.001);
        let sent = self.bytes.saturating_sub(earlier);
        let rate = text::bytes((sent as f64 / seconds) as u64);
        let mut line = format!(
            "{count} {files}, {} in {seconds:.1} s ({rate}/s)",
            text::bytes(self.bytes)
        );
        if earlier > 0 {
            line += &format!("; {} were there already", text::bytes(earlier));
        }
        line
    }
}

/// Formats bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
