//! The command line of `ivshmem-server`.

use std::path::PathBuf;

use clap::Parser;

use crate::memory::{Memory, size};

/// Brings the peers of QEMU's ivshmem-doorbell device together: gives each the shared
/// memory, and eventfds by which every peer interrupts every other.
#[derive(Parser, Clone, Debug)]
#[command(name = "ivshmem-server", version, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The socket that peers connect to; only its owner may
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    pub(crate) socket: PathBuf,

    /// The memory that peers share
    #[arg(long, value_name = "MEMORY")]
    pub(crate) memory: Memory,

    /// Make file:PATH or shm:/NAME with so many bytes if it is not there
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) size: Option<usize>,

    /// Interrupts that each peer gets; QEMU's device has to have as many (vectors=N)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=2048))]
    pub(crate) vectors: u16,

    /// How many peers there may be at a time
    #[arg(long, value_name = "MAX", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) peers: u16,

    /// Stay in the foreground instead of becoming a daemon
    #[arg(long)]
    pub(crate) foreground: bool,

    /// Also say which peer is slow to read
    #[arg(long)]
    pub(crate) verbose: bool,

    /// Write the server's process number to this file, and remove it at the end
    #[arg(long, value_name = "FILE", value_parser = absolute)]
    pub(crate) pid_file: Option<PathBuf>,

    /// Append messages to this file [default: standard error; as a daemon, nowhere]
    #[arg(long, value_name = "FILE", value_parser = absolute)]
    pub(crate) log: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
MEMORY is one of
  SIZE         new memory that ends with the last who has it, as in 16M
  file:PATH    a file, as in file:/dev/shm/region
  shm:/NAME    POSIX shared memory
A size is a power of two, at least 4K.

With QEMU:
  -chardev socket,path=PATH,id=door -device ivshmem-doorbell,chardev=door,vectors=N

The first peer has the number 0, each later one the next that is free: one that restarts
has another number than before. A peer that sends something, or that does not read for
long, is dropped. Where a dead server left its socket a new one takes its place; QEMU
cannot connect to it anew, and goes on with the peers that it knows.

Exit status: 0 ended by SIGINT, SIGTERM or SIGHUP (as a daemon: it serves), 1 failure,
2 wrong usage.";

/// A path that still holds when the daemon has changed its directory.
fn absolute(text: &str) -> Result<PathBuf, String> {
    std::path::absolute(text).map_err(|error| error.to_string())
}
