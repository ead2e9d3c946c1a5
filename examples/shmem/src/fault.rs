//! Handles mapped memory that disappears because another process truncates its file.

use std::io;

use crate::output::UNREADABLE;

const MESSAGE: &[u8] = b"shmem: the memory disappeared while it was read: its file was truncated\n";

/// Makes a bus error end the program with a message instead of a core dump. The kernel sends it
/// when mapped memory has disappeared.
pub(crate) fn catch() -> io::Result<()> {
    let end = || {
        let _ = rustix::io::write(rustix::stdio::stderr(), MESSAGE);
        signal_hook::low_level::exit(UNREADABLE.into());
    };
    // SAFETY: two system calls, both safe in a signal handler, which does not return to the
    // failed access.
    unsafe { signal_hook::low_level::register(signal_hook::consts::SIGBUS, end) }?;
    Ok(())
}
