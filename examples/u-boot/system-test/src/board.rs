//! The boards that U-Boot runs on, and where each has the regions' memory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use kmon_protocol::MonitorLink;

use crate::process::built;

/// Bytes of an instance's region.
pub const REGION_LEN: u64 = MonitorLink::REGION_LEN as u64;

/// A board that U-Boot runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// U-Boot is a process of this machine; regions are files that it maps.
    Sandbox,
    /// QEMU's `virt`: 64-bit ARM; each region is the memory of an ivshmem device.
    QemuArm64,
    /// The same with regions in its main memory, which its device tree describes.
    QemuArm64Tree,
    /// QEMU's `malta`: 64-bit MIPS, big-endian; regions are in its main memory.
    Malta64,
}

/// Bytes of main memory that is one file.
const MALTA_MEMORY: u64 = 256 << 20;
const ARM64_MEMORY: u64 = 128 << 20;
/// Physical address of `virt`'s main memory.
const ARM64_START: u64 = 1 << 30;

/// Returns where in such a file the region of instance `number` is: after everything that
/// U-Boot uses at its start, and below the address that it moves itself to.
fn offset_of(number: u8) -> u64 {
    (64 << 20) + u64::from(number - 2) * (16 << 20)
}

impl Board {
    fn name(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::QemuArm64 | Self::QemuArm64Tree => "qemu_arm64",
            Self::Malta64 => "malta64",
        }
    }

    /// Returns a file that `cargo xtask u-boot` has built for the board.
    fn file(self, name: &str) -> PathBuf {
        let path = format!("u-boot/{}/build/{name}", self.name());
        built(&path).unwrap_or_else(|| {
            let board = self.name();
            panic!("no {path} in the target directory: run `cargo xtask u-boot --target {board}`")
        })
    }

    /// Creates the memory of instances 2 to `last` in `directory`.
    pub(crate) fn make_memory(self, directory: &Path, last: u8) {
        let make = |path: &Path, len| File::create(path).unwrap().set_len(len).unwrap();
        match self {
            Self::Malta64 => make(&directory.join("memory"), MALTA_MEMORY),
            Self::QemuArm64Tree => make(&directory.join("memory"), ARM64_MEMORY),
            _ => (2..=last).for_each(|number| make(&file_of(directory, number), REGION_LEN)),
        }
    }

    /// Returns the command that powers the board on, with the memory in `directory`.
    pub(crate) fn power_on(self, directory: &Path, last: u8) -> Command {
        let mut command = match self {
            Self::Sandbox => return self.sandbox(),
            Self::QemuArm64 => self.qemu_arm64(directory, last),
            Self::QemuArm64Tree => self.qemu_arm64_tree(directory, last),
            Self::Malta64 => self.malta64(directory),
        };
        // `^C` is a character for U-Boot, and never a signal for QEMU.
        command
            .args(["-display", "none", "-monitor", "none", "-nic", "none"])
            .args(["-chardev", "stdio,id=console,signal=off"])
            .args(["-serial", "chardev:console"]);
        command
    }

    fn sandbox(self) -> Command {
        let mut command = Command::new(self.file("u-boot"));
        // Raw: its terminal must not turn keys into signals either.
        command.args(["-t", "raw"]);
        command
    }

    fn qemu_arm64(self, directory: &Path, last: u8) -> Command {
        let mut command = virt("virt");
        command.arg("-bios").arg(self.file("u-boot.bin"));
        for number in 2..=last {
            let path = file_of(directory, number);
            command
                .arg("-object")
                .arg(backend(&format!("region{number}"), &path, REGION_LEN))
                .arg("-device")
                .arg(format!("ivshmem-plain,memdev=region{number}"));
        }
        command
    }

    fn qemu_arm64_tree(self, directory: &Path, last: u8) -> Command {
        let memory = backend("memory", &directory.join("memory"), ARM64_MEMORY);
        let tree = directory.join("tree.dtb");
        let dump = format!("virt,memory-backend=memory,dumpdtb={}", tree.display());
        run(virt(&dump).arg("-object").arg(&memory));
        add_nodes(&tree, last);
        let mut command = virt("virt,memory-backend=memory");
        command.arg("-bios").arg(self.file("u-boot.bin"));
        command.arg("-object").arg(memory).arg("-dtb").arg(tree);
        command
    }

    fn malta64(self, directory: &Path) -> Command {
        let mut command = Command::new("qemu-system-mips64");
        let flash = self.file("flash.bin");
        command
            .args(["-M", "malta,memory-backend=memory"])
            .args(["-cpu", "MIPS64R2-generic", "-m", "256"])
            .arg("-drive")
            .arg(format!(
                "if=pflash,format=raw,snapshot=on,file={}",
                flash.display()
            ))
            .arg("-object")
            .arg(backend("memory", &directory.join("memory"), MALTA_MEMORY));
        command
    }

    /// Returns the commands that make instances of all the memory.
    pub(crate) fn attach_all(self, directory: &Path, last: u8, options: &str) -> Vec<String> {
        match self {
            Self::QemuArm64 | Self::QemuArm64Tree => vec![format!("kmattach{options}")],
            _ => (2..=last)
                .map(|number| self.attach(directory, number, options))
                .collect(),
        }
    }

    /// Returns the command that makes an instance of the memory for `number`.
    fn attach(self, directory: &Path, number: u8, options: &str) -> String {
        match self {
            Self::Sandbox => {
                let path = file_of(directory, number);
                format!("kmattach{options} file {}", path.display())
            }
            Self::QemuArm64 | Self::QemuArm64Tree => format!("kmattach{options}"),
            Self::Malta64 => {
                let address = offset_of(number);
                format!("kmattach{options} {address:x} {REGION_LEN:x}")
            }
        }
    }

    /// Returns where the daemon of instance `number` finds its region.
    pub(crate) fn place(self, directory: &Path, number: u8) -> String {
        match self {
            Self::Malta64 | Self::QemuArm64Tree => {
                let (path, offset) = (directory.join("memory"), offset_of(number));
                format!("file:{}@{offset:#x}+{REGION_LEN:#x}", path.display())
            }
            _ => format!("file:{}", file_of(directory, number).display()),
        }
    }
}

fn file_of(directory: &Path, number: u8) -> PathBuf {
    directory.join(format!("region{number}"))
}

/// QEMU's 64-bit ARM machine.
fn virt(machine: &str) -> Command {
    let mut command = Command::new("qemu-system-aarch64");
    command
        .args(["-M", machine, "-cpu", "cortex-a57", "-m", "128"])
        // With one possible processor QEMU emits no fences and no atomic operations.
        .args(["-smp", "1,maxcpus=2", "-accel", "tcg,thread=multi"]);
    command
}

/// Adds the regions of instances 2 to `last` to a device tree.
fn add_nodes(tree: &Path, last: u8) {
    const PARENT: &str = "/reserved-memory";
    let fdtput = |options: &[&str], node: &str, words: &[&str]| {
        let mut command = Command::new("fdtput");
        run(command.args(options).arg(tree).arg(node).args(words));
    };
    fdtput(&["-c"], PARENT, &[]);
    fdtput(&[], PARENT, &["#address-cells", "2"]);
    fdtput(&[], PARENT, &["#size-cells", "2"]);
    fdtput(&[], PARENT, &["ranges"]);
    // `fdtput` inserts a new node before the others.
    for number in (2..=last).rev() {
        let address = ARM64_START + offset_of(number);
        let node = format!("{PARENT}/kmon-{number}@{address:x}");
        let range = [0, address, 0, REGION_LEN].map(|cell| cell.to_string());
        let range: Vec<_> = ["reg"]
            .into_iter()
            .chain(range.iter().map(|cell| &**cell))
            .collect();
        fdtput(&["-c"], &node, &[]);
        fdtput(&["-t", "s"], &node, &["compatible", "shmr,region"]);
        fdtput(&[], &node, &range);
        fdtput(&[], &node, &["no-map"]);
    }
}

fn run(command: &mut Command) {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Memory that the virtual machine shares with every process that maps the file.
fn backend(id: &str, path: &Path, len: u64) -> String {
    let path = path.display();
    format!("memory-backend-file,id={id},share=on,mem-path={path},size={len}")
}
