//! The daemon's own messages.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes one line to standard error, and ignores errors.
pub fn log(line: impl Display) {
    // In one write: `/dev/kmsg` makes a record of each write.
    let line = format!("guestd: {line}\n");
    let _ = io::stderr().write_all(line.as_bytes());
}
