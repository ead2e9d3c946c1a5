//! A machine that cannot start gives an error of one line.

mod support;

use kmon_qemu::{Boot, Transport};
use support::Bench;

#[track_caller]
fn fails(bench: &Bench, wanted: &str) {
    let error = match bench.try_start() {
        Err(error) => error,
        Ok(machine) => {
            machine.kill();
            panic!("the machine starts");
        }
    };
    let text = error.to_string();
    assert!(text.contains(wanted) && !text.contains('\n'), "{text}");
}

fn bench() -> Bench {
    Bench::new(Transport::Ivshmem)
}

#[test]
fn a_missing_file_is_named() {
    let mut bench = bench();
    bench.plan.boot = Boot::Kernel {
        kernel: "/no/vmlinuz".into(),
        initrd: None,
    };
    fails(&bench, "kernel /no/vmlinuz: No such file");
    bench.plan.boot = Boot::Disk("/no/disk.img".into());
    fails(&bench, "disk /no/disk.img: No such file");
}

#[test]
fn a_missing_program_is_named() {
    let mut bench = bench();
    bench.plan.program = "qemu-system-of-nobody".into();
    fails(&bench, "there is no program qemu-system-of-nobody");
}

#[test]
fn an_error_of_qemu_is_reported_in_its_own_words() {
    let mut bench = bench();
    bench.plan.extra = vec!["-device".to_owned(), "toaster".to_owned()];
    fails(&bench, "'toaster' is not a valid device model name");
    bench.plan.extra.clear();
    bench.plan.transport = Transport::Doorbell {
        server: bench.path("nobody"),
    };
    fails(&bench, "nobody");
}

#[test]
fn impossible_sizes_are_reported() {
    let mut bench = bench();
    bench.plan.memory_mib = 1;
    fails(&bench, "1 MiB of memory are too little");
    bench.plan.memory_mib = 4096;
    bench.plan.transport = Transport::Reserved;
    fails(&bench, "4096 MiB of memory are too much");
    bench.plan.memory_mib = 96;
    bench.plan.vcpus = 0;
    fails(&bench, "vcpus is 0");
}

#[test]
fn a_socket_that_cannot_be_created_is_named() {
    let mut bench = bench();
    bench.plan.qmp = "/no/qmp".into();
    fails(&bench, "cannot create the socket /no/qmp: No such file");
    bench.plan.qmp = bench.path(&"x".repeat(100));
    fails(&bench, "is longer than 107 bytes");
}
