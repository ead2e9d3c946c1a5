//! What happens when mapped memory goes away: a file that somebody truncates.

use std::io;

use crate::output::UNREADABLE;

const MESSAGE: &[u8] =
    b"shmem: the memory went away while it was read: somebody truncated its file\n";

/// Makes a bus error, which is how the kernel says so, end the program with a line
/// and not with a core.
pub(crate) fn say_so() -> io::Result<()> {
    let end = || {
        let _ = rustix::io::write(rustix::stdio::stderr(), MESSAGE);
        signal_hook::low_level::exit(UNREADABLE.into());
    };
    // SAFETY: two system calls, both safe in a signal handler, and no return to
    // what cannot go on.
    unsafe { signal_hook::low_level::register(signal_hook::consts::SIGBUS, end) }?;
    Ok(())
}
