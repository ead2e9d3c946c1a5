//! The command line of `ivshmem-server`.

use std::path::PathBuf;

use clap::Parser;

use crate::memory::{Memory, size};

/// Connects the peers of QEMU's ivshmem-doorbell device: gives each the shared memory, and
/// eventfds by which every peer interrupts every other
#[derive(Parser, Clone, Debug)]
#[command(name = "ivshmem-server", version, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The socket to which peers connect; only its owner may
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    pub(crate) socket: PathBuf,

    /// The memory that peers share
    #[arg(long, value_name = "MEMORY")]
    pub(crate) memory: Memory,

    /// Create file:PATH or shm:/NAME with this size if it does not exist
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) size: Option<usize>,

    /// Interrupts of each peer; QEMU's device must have the same number (vectors=N)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=2048))]
    pub(crate) vectors: u16,

    /// The largest number of peers at a time
    #[arg(long, value_name = "MAX", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) peers: u16,

    /// Stay in the foreground instead of becoming a daemon
    #[arg(long)]
    pub(crate) foreground: bool,

    /// Also report peers that read slowly
    #[arg(long)]
    pub(crate) verbose: bool,

    /// Write the server's process number to this file, and remove it at the end
    #[arg(long, value_name = "FILE", value_parser = absolute)]
    pub(crate) pid_file: Option<PathBuf>,

    /// Append messages to this file [default: standard error; none as a daemon]
    #[arg(long, value_name = "FILE", value_parser = absolute)]
    pub(crate) log: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
MEMORY is one of
    SIZE         new memory, which exists as long as a process has it, as in 16M
  file:PATH    a file, as in file:/dev/shm/region
  shm:/NAME    POSIX shared memory
A size is a power of two, at least 4K.

With QEMU:
  -chardev socket,path=PATH,id=door -device ivshmem-doorbell,chardev=door,vectors=N

The first peer has the number 0, and each later one the next free number: a restarted peer
has another number than before. A peer that sends data, or does not read for long, is
dropped. A new server replaces the socket of a dead one. QEMU cannot connect to the new
server, and goes on with the peers that it knows.

Exit status: 0 ended by SIGINT, SIGTERM or SIGHUP (as a daemon: the daemon serves),
1 failure, 2 wrong usage.";

/// Makes a path absolute, so that it is valid after the daemon has changed its directory.
fn absolute(text: &str) -> Result<PathBuf, String> {
    std::path::absolute(text).map_err(|error| error.to_string())
}
