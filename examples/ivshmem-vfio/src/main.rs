//! The `ivshmem-vfio` program; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ivshmem_vfio::run()
}
