//! The `ivshmem-peer` program. The library does all the work.

use std::process::ExitCode;

fn main() -> ExitCode {
    ivshmem_server::run_peer()
}
