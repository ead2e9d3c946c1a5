//! The `shmem` program. The library does all the work.

use std::process::ExitCode;

fn main() -> ExitCode {
    shmem::run()
}
