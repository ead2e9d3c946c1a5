//! The program's output and exit statuses.

use std::io::{self, BufWriter, Write};

/// There are findings.
pub(crate) const FOUND: u8 = 1;
/// The place cannot be read.
pub(crate) const UNREADABLE: u8 = 2;

/// Prints what `write` writes. A reader may close the output early.
pub(crate) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = write(&mut out).and_then(|()| out.flush());
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            // The rest of the buffer has no reader either.
            drop(out.into_parts());
            Ok(())
        }
        printed => printed,
    }
}
