//! A Linux guest with the program of this package, driven line by line.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use ivshmem_server::{Limits, Running, Server};
use shmem_core::Mapping;
use tempfile::TempDir;

/// How long one step may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// The memory of every server in these tests.
pub(crate) const MEMORY: usize = 1 << 20;
/// Vectors of every server and device in these tests.
pub(crate) const VECTORS: u16 = 2;
/// QEMU's arguments for an IOMMU that remaps interrupts.
pub(crate) const IOMMU: [&str; 2] = ["-device", "intel-iommu,intremap=on"];
/// The kernel parameter that enables it.
pub(crate) const USE_IOMMU: &str = "intel_iommu=on";

/// The kernel's modules, each after those that it needs.
const MODULES: [&str; 6] = [
    "virt/lib/irqbypass.ko",
    "drivers/vfio/vfio.ko",
    "drivers/vfio/vfio_virqfd.ko",
    "drivers/vfio/vfio_iommu_type1.ko",
    "drivers/vfio/pci/vfio-pci-core.ko",
    "drivers/vfio/pci/vfio-pci.ko",
];

/// The guest's first process: runs the lines that arrive on the serial port.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
exec < /dev/ttyS0 > /dev/ttyS0 2>&1
stty -echo
load() { for module in $(cat /modules); do insmod $module; done; }
echo "ready"
while read -r line; do
  eval "$line"
  echo "status $?"
done
"#;

/// A server on a thread.
pub(crate) fn serve(socket: &Path, memory: &Mapping) -> Running {
    let memory = memory.as_fd().try_clone_to_owned().unwrap();
    let (vectors, peers) = (VECTORS, 8);
    let server = Server::bind(socket, memory, Limits { vectors, peers }).unwrap();
    server.spawn(|_| {}).unwrap()
}

/// A virtual machine; it is killed at the end.
pub(crate) struct Guest {
    qemu: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    seen: Vec<String>,
}

/// QEMU's arguments for the device at the server of `socket`.
pub(crate) fn doorbell(socket: &Path) -> Vec<String> {
    let chardev = format!("socket,id=door,path={}", socket.display());
    let device = format!("ivshmem-doorbell,chardev=door,vectors={VECTORS}");
    ["-chardev", &chardev, "-device", &device]
        .map(str::to_owned)
        .into()
}

impl Guest {
    /// Boots a machine with these arguments and kernel parameters, in addition to those
    /// that every machine here has.
    pub(crate) fn boot<S: AsRef<str>>(arguments: &[S], parameters: &str) -> Self {
        let mut command = Command::new("qemu-system-x86_64");
        let line = "-nodefaults -no-user-config -display none -no-reboot -m 256M \
                    -machine q35 -accel tcg,thread=multi -smp 1,maxcpus=2 -serial stdio";
        command.args(line.split(' ').filter(|word| !word.is_empty()));
        command.arg("-kernel").arg(fetched("guest/kernel/vmlinuz"));
        command.arg("-initrd").arg(initramfs());
        let parameters = format!("console=none quiet panic=-1 {parameters}");
        command.args(["-append", &parameters]);
        command.args(arguments.iter().map(AsRef::as_ref));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let qemu = command.spawn();
        let mut qemu = qemu.expect("the package qemu-system-x86 is missing");
        let input = qemu.stdin.take().unwrap();
        let output = BufReader::new(qemu.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line.trim_end().to_owned());
            }
        });
        let mut guest = Self {
            qemu,
            input,
            lines,
            seen: Vec::new(),
        };
        guest.line("ready");
        guest
    }

    /// Boots a machine whose device can be driven through vfio.
    pub(crate) fn with_vfio(socket: &Path) -> Self {
        let mut arguments = doorbell(socket);
        arguments.extend(IOMMU.map(str::to_owned));
        let mut guest = Self::boot(&arguments, USE_IOMMU);
        guest.run("load");
        guest
    }

    /// Types a line.
    pub(crate) fn type_line(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Starts a line in the background; returns the line with `part` in it that it prints.
    pub(crate) fn start(&mut self, line: &str, part: &str) -> String {
        let before = self.seen.len();
        self.type_line(&format!("{line} &"));
        // The shell prints its status before or after that line.
        let find = |part: &str, seen: &[String]| {
            let mut lines = seen.iter();
            lines.find(|line| line.contains(part)).cloned()
        };
        loop {
            let since = &self.seen[before..];
            if let (Some(line), Some(_)) = (find(part, since), find("status ", since)) {
                return line;
            }
            self.line("");
        }
    }

    /// Waits for a line with `part` in it.
    pub(crate) fn line(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let seen = &mut self.seen;
            let line = line.unwrap_or_else(|_| panic!("no line with {part:?} in {seen:#?}"));
            seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Runs a line to its end; returns its exit status and its output.
    pub(crate) fn try_run(&mut self, line: &str) -> (i32, Vec<String>) {
        let before = self.seen.len();
        self.type_line(line);
        let status = self.line("status ");
        let output = self.seen[before..self.seen.len() - 1].to_vec();
        let status = status.split(' ').next_back().unwrap().parse().unwrap();
        (status, output)
    }

    /// Runs a line that succeeds; returns its output.
    pub(crate) fn run(&mut self, line: &str) -> Vec<String> {
        let (status, output) = self.try_run(line);
        assert_eq!(status, 0, "{line}: {output:#?}");
        output
    }

    /// Runs a line that fails and prints one line; returns that line.
    pub(crate) fn fails(&mut self, line: &str) -> String {
        let (status, output) = self.try_run(line);
        assert!(
            status != 0 && output.len() == 1,
            "{line}: {status} {output:#?}"
        );
        output.into_iter().next().unwrap()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// Returns a file that `cargo xtask guest-image` has fetched into cargo's target directory,
/// which the running test is in.
fn fetched(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let mut places = test.ancestors().skip(1).map(|place| place.join(name));
    places.find(|path| path.exists()).unwrap_or_else(|| {
        panic!("no {name} in the target directory: run `cargo xtask test --only guests`")
    })
}

/// The guest's first file system, made once for all tests.
fn initramfs() -> &'static Path {
    static MADE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_home, path) = MADE.get_or_init(|| {
        let home = tempfile::tempdir().unwrap();
        let (root, path) = (home.path().join("root"), home.path().join("initrd"));
        fill(&root);
        // `newc` is the only format that the kernel accepts.
        let line = "find . | cpio --quiet -o -H newc > ../initrd";
        let mut pack = Command::new("sh");
        let packed = pack.args(["-c", line]).current_dir(&root).status();
        assert!(packed.unwrap().success(), "the package cpio is missing");
        (home, path)
    });
    path
}

fn fill(root: &Path) {
    for directory in ["bin", "dev", "proc", "sys"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    copy(Path::new("/bin/busybox"), root);
    symlink("busybox", root.join("bin/sh")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_ivshmem-vfio"));
    fs::copy(program, root.join("bin/ivshmem-vfio")).unwrap();
    for library in libraries(program) {
        copy(&library, root);
    }
    let mut releases = fs::read_dir(fetched("guest/kernel/lib/modules")).unwrap();
    let modules = releases.next().unwrap().unwrap().path();
    let mut list = String::new();
    for module in MODULES {
        let name = Path::new(module).file_name().unwrap();
        // A kernel may have the module built in.
        if fs::copy(modules.join("kernel").join(module), root.join(name)).is_ok() {
            list.push_str(&format!("/{}\n", name.display()));
        }
    }
    fs::write(root.join("modules"), list).unwrap();
    fs::write(root.join("init"), INIT).unwrap();
    let mut make_executable = Command::new("chmod");
    let done = make_executable.arg("+x").arg(root.join("init")).status();
    assert!(done.unwrap().success());
}

/// Copies a file to the same path under `root`.
fn copy(file: &Path, root: &Path) {
    let there = root.join(file.strip_prefix("/").unwrap());
    fs::create_dir_all(there.parent().unwrap()).unwrap();
    fs::copy(file, there).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

/// Returns the shared libraries that a program needs, with its loader.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let paths = output
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    paths.map(PathBuf::from).collect()
}
