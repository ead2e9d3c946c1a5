//! Prints a command's result.

use std::io::Write;

use anyhow::Context;
use serde::Serialize;

/// Prints a command's result.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .context("standard output")?;
    if !text.ends_with('\n') {
        stdout.write_all(b"\n").context("standard output")?;
    }
    stdout.flush().context("standard output")
}

/// Prints a command's result as one line of JSON.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string(value)?)
}
