//! The output of a peer.

use std::io::{self, Write};

/// Prints one line to standard output at once, since another process may wait for it.
pub(super) fn print_line(line: impl std::fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
