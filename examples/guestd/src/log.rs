//! What the daemon has to say of itself.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes one line to standard error. A log that cannot be written stops nothing.
pub fn log(line: impl Display) {
    // At once: `/dev/kmsg` makes a record of each write.
    let line = format!("guestd: {line}\n");
    let _ = io::stderr().write_all(line.as_bytes());
}
