//! What a peer says on standard output.

use std::io::{self, Write};

/// One line to standard output, at once: somebody may wait for it.
pub(super) fn say(line: impl std::fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
