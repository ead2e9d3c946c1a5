//! Starts a machine and leaves it running: `start KERNEL INITRD QMP-SOCKET`.
//!
//! Prints the record, by which the machine can be found again, as JSON. The region is 2 MiB of
//! zeroes.

use std::process::ExitCode;

use kmon_qemu::{Accelerator, Boot, Plan, Transport};
use shmem_core::Mapping;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let [kernel, initrd, qmp] = words.as_slice() else {
        eprintln!("usage: start KERNEL INITRD QMP-SOCKET");
        return ExitCode::from(2);
    };
    let plan = Plan {
        name: "started".to_owned(),
        memory_mib: 96,
        vcpus: 1,
        boot: Boot::Kernel {
            kernel: kernel.into(),
            initrd: Some(initrd.into()),
        },
        transport: Transport::Ivshmem,
        accelerator: Accelerator::Tcg,
        qmp: qmp.into(),
        program: "qemu-system-x86_64".into(),
        append: String::new(),
        extra: Vec::new(),
    };
    let region = match Mapping::memfd("region", 2 << 20) {
        Ok(region) => region,
        Err(error) => return failed(&error),
    };
    let machine = match plan.start(region.as_fd()) {
        Ok(machine) => machine,
        Err(error) => return failed(&error),
    };
    match serde_json::to_string(&machine.record()) {
        Ok(record) => println!("{record}"),
        Err(error) => return failed(&error),
    }
    ExitCode::SUCCESS
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
