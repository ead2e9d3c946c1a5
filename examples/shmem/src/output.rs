//! What the program gives back: its output, its exit status.

use std::io::{self, BufWriter, Write};

/// Something was found.
pub(crate) const FOUND: u8 = 1;
/// The place cannot be read.
pub(crate) const UNREADABLE: u8 = 2;

/// Prints what `write` writes; nobody has to read it to its end.
pub(crate) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = write(&mut out).and_then(|()| out.flush());
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            // What is left in the buffer has no reader either.
            drop(out.into_parts());
            Ok(())
        }
        printed => printed,
    }
}
