//! An instance that is a Linux machine of its own, under QEMU.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use kmon_qemu::{Accelerator, Boot, Machine, Plan, Status, Transport};
use shmem_core::Mapping;

use crate::PATIENCE;
use crate::process::built;

/// Its memory, in MiB.
pub const MEMORY_MIB: u32 = 96;
/// Lines of its kernel's log that are shown when a test has failed.
const LAST_LINES: usize = 30;

/// One run of such a machine; it is killed at the end.
pub struct Linux {
    machine: Machine,
    log: PathBuf,
}

impl Linux {
    /// Starts the machine, with `region` as the memory of a PCI device. Its log and its QMP
    /// socket are in `home`.
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
            // Regions that U-Boot formats have no ring for the kernel's log.
            append: "console=ttyS0".to_owned(),
            extra: log_port(&log).into(),
        };
        let machine = plan.start(region.as_fd());
        let machine = machine.unwrap_or_else(|error| panic!("instance {number}: {error}"));
        Self { machine, log }
    }

    /// Kills QEMU, without a shutdown of the guest.
    pub fn kill(&self) {
        self.machine.kill();
        let deadline = Instant::now() + PATIENCE;
        while !matches!(self.machine.status(), Status::Ended(_)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the kernel's log, of this and earlier runs.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the kernel's log contains `text`.
    pub fn see_log(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            let status = self.machine.status();
            let runs = !matches!(status, Status::Ended(_));
            assert!(
                runs && Instant::now() < deadline,
                "no {text:?}; the machine: {status}; QEMU: {:?}",
                self.machine.stderr_lines()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the kernel's release, from the first line of its log.
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

/// Returns the prompt of the shell in instance `number`.
pub fn prompt(number: u8) -> String {
    format!("root@part{number}:~# ")
}

/// Returns a file that `cargo xtask guest-image` has built.
fn image(path: &str) -> PathBuf {
    built(path).unwrap_or_else(|| {
        panic!("no {path} in the target directory: run `cargo xtask guest-image`")
    })
}

/// A serial port that writes to a file and has no input.
fn log_port(log: &Path) -> [String; 4] {
    [
        "-chardev".to_owned(),
        format!("file,id=log,append=on,path={}", log.display()),
        "-device".to_owned(),
        "isa-serial,chardev=log".to_owned(),
    ]
}
