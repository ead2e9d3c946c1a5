//! One instance that is a Linux machine of its own, under QEMU.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use kmon_qemu::{Accelerator, Boot, Machine, Plan, Status, Transport};
use shmem_core::Mapping;

use crate::PATIENCE;
use crate::process::built;

/// Its memory.
pub const MEMORY_MIB: u32 = 96;
/// Of its kernel's log, when a test has failed.
const LAST_LINES: usize = 30;

/// One run of such a machine, which is killed in the end.
pub struct Linux {
    machine: Machine,
    log: PathBuf,
}

impl Linux {
    /// Switches it on, with `region` as the memory of a PCI device. What it keeps of
    /// itself here is in `home`.
    pub(crate) fn start(home: &Path, number: u8, region: &Mapping) -> Self {
        fs::create_dir_all(home).unwrap();
        let log = home.join("log");
        let plan = Plan {
            name: format!("part{number}"),
            memory_mib: MEMORY_MIB,
            vcpus: 1,
            boot: Boot::Kernel {
                kernel: image("guest/kernel/vmlinuz"),
                initrd: Some(image("guest/initramfs.cpio")),
            },
            transport: Transport::Ivshmem,
            accelerator: Accelerator::Tcg,
            qmp: home.join("qmp"),
            program: "qemu-system-x86_64".into(),
            // Regions that U-Boot formats have no ring for it.
            append: "console=ttyS0".to_owned(),
            extra: log_port(&log).into(),
        };
        let machine = plan.start(region.as_fd());
        let machine = machine.unwrap_or_else(|error| panic!("instance {number}: {error}"));
        Self { machine, log }
    }

    /// Ends QEMU as nobody expects it.
    pub fn kill(&self) {
        self.machine.kill();
        let deadline = Instant::now() + PATIENCE;
        while !matches!(self.machine.status(), Status::Ended(_)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// All that the kernel has said, in this and earlier runs.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the kernel's log has `text`.
    pub fn see_log(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            let status = self.machine.status();
            let goes_on = !matches!(status, Status::Ended(_));
            assert!(
                goes_on && Instant::now() < deadline,
                "no {text:?}; the machine: {status}; QEMU: {:?}",
                self.machine.stderr_lines()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The kernel's release, by its first line.
    pub fn release(&self) -> String {
        self.see_log("Run /init");
        let log = self.log();
        let (_, line) = log.split_once("Linux version ").unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    }
}

impl Drop for Linux {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
            eprintln!("{} ends in:\n{last}", self.log.display());
        }
    }
}

/// The prompt of the shell in instance `number`.
pub fn prompt(number: u8) -> String {
    format!("root@part{number}:~# ")
}

/// What `cargo xtask guest-image` has built.
fn image(path: &str) -> PathBuf {
    built(path).unwrap_or_else(|| {
        panic!("no {path} in the target directory: run `cargo xtask guest-image`")
    })
}

/// A serial port that goes to a file: nothing is ever read from it.
fn log_port(log: &Path) -> [String; 4] {
    [
        "-chardev".to_owned(),
        format!("file,id=log,append=on,path={}", log.display()),
        "-device".to_owned(),
        "isa-serial,chardev=log".to_owned(),
    ]
}
