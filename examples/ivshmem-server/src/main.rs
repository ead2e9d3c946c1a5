//! The `ivshmem-server` program. The library does all the work.

use std::process::ExitCode;

fn main() -> ExitCode {
    ivshmem_server::run_server()
}
