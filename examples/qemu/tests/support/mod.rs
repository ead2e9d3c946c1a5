//! Real machines for tests: the kernel and the tools of `cargo xtask guest-image`, with an
//! `init` of the tests, which replaces the image's.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::env;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use cpio::newc::{Builder, ModeFileType, trailer};
use ivshmem_server::{Limits, Running, Server};
use kmon_qemu::{Accelerator, Boot, Event, Machine, Plan, StartError, Status, Transport, VECTORS};
use shmem_core::Mapping;
use shmem_core::primitive::Ordering::Relaxed;
use tempfile::TempDir;

/// Longer than any test takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
pub(crate) const REGION_LEN: usize = 2 << 20;

/// A request to the guest; see `init`.
#[derive(Clone, Copy)]
pub(crate) enum Wish {
    Panic = 1,
    PowerOff = 2,
    Reboot = 3,
}

/// Returns a file that `cargo xtask guest-image` has built: it is in cargo's target directory,
/// which contains the running test.
pub(crate) fn built(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let mut places = test.ancestors().skip(1).map(|place| place.join(name));
    places.find(|path| path.exists()).unwrap_or_else(|| {
        panic!("no {name} in the target directory: run `cargo xtask test --only guests`")
    })
}

/// A plan of a machine with its region, in a directory of its own.
pub(crate) struct Bench {
    pub(crate) home: TempDir,
    pub(crate) region: Mapping,
    pub(crate) plan: Plan,
    server: Option<Running>,
}

impl Bench {
    /// A machine with the unchanged image.
    pub(crate) fn with_image(transport: Transport) -> Self {
        let mut bench = Self::new(transport);
        bench.plan.boot = Boot::Kernel {
            kernel: built("guest/kernel/vmlinuz"),
            initrd: Some(built("guest/initramfs.cpio")),
        };
        bench
    }

    /// A machine with the `init` of the tests.
    pub(crate) fn new(transport: Transport) -> Self {
        let home = tempfile::tempdir().unwrap();
        let initrd = home.path().join("initrd");
        // An archive after another one is unpacked over it.
        let mut archive = fs::read(built("guest/initramfs.cpio")).unwrap();
        archive.resize(archive.len().next_multiple_of(4), 0);
        let init = Builder::new("init")
            .mode(0o755)
            .set_mode_file_type(ModeFileType::Regular);
        let script = include_bytes!("init");
        let mut writer = init.write(&mut archive, script.len() as u32);
        writer.write_all(script).unwrap();
        writer.finish().unwrap();
        trailer(&mut archive).unwrap();
        fs::write(&initrd, archive).unwrap();
        let plan = Plan {
            name: "tested".to_owned(),
            memory_mib: 96,
            vcpus: 1,
            boot: Boot::Kernel {
                kernel: built("guest/kernel/vmlinuz"),
                initrd: Some(initrd),
            },
            transport,
            accelerator: Accelerator::Tcg,
            qmp: home.path().join("qmp"),
            program: "qemu-system-x86_64".into(),
            append: String::new(),
            extra: Vec::new(),
        };
        Self {
            home,
            region: Mapping::memfd("region", REGION_LEN).unwrap(),
            plan,
            server: None,
        }
    }

    /// Makes it a machine with doorbells. The server runs until the end of the test.
    pub(crate) fn with_doorbell(mut self) -> Self {
        let socket = self.path("server");
        let memory = self.region.as_fd().try_clone_to_owned().unwrap();
        let limits = Limits {
            vectors: VECTORS as u16,
            peers: 4,
        };
        let server = Server::bind(&socket, memory, limits).unwrap();
        self.server = Some(server.spawn(|_| {}).unwrap());
        self.plan.transport = Transport::Doorbell { server: socket };
        // A q35 uses more memory itself.
        self.plan.memory_mib = 128;
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn try_start(&self) -> Result<Machine, StartError> {
        self.plan.start(self.region.as_fd())
    }

    pub(crate) fn start(self) -> Guest {
        let machine = match self.try_start() {
            Ok(machine) => machine,
            Err(error) => panic!("{error}"),
        };
        Guest {
            machine,
            region: self.region,
            _server: self.server,
            _home: self.home,
        }
    }
}

/// A machine that is killed at the end of its test, and its region.
pub(crate) struct Guest {
    pub(crate) machine: Machine,
    pub(crate) region: Mapping,
    _server: Option<Running>,
    _home: TempDir,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.machine.kill();
    }
}

impl Guest {
    /// Takes a machine that another process has started.
    pub(crate) fn from_machine(machine: Machine, region: Mapping, home: TempDir) -> Self {
        Self {
            machine,
            region,
            _server: None,
            _home: home,
        }
    }

    /// Starts a machine, and waits until it has booted.
    pub(crate) fn boot(transport: Transport) -> Self {
        let guest = Bench::new(transport).start();
        guest.see_up(1);
        guest
    }

    pub(crate) fn word(&self, offset: usize) -> u32 {
        self.region.window().word(offset).load(Relaxed)
    }

    fn set(&self, offset: usize, value: u32) {
        self.region.window().word(offset).store(value, Relaxed);
    }

    pub(crate) fn ask(&self, wish: Wish) {
        self.set(4, wish as u32);
    }

    /// Waits until it has booted `boots` times.
    pub(crate) fn see_up(&self, boots: u32) {
        self.wait("the guest is up", |guest| {
            guest.word(0) == 0x7570 && guest.word(12) == boots
        });
    }

    /// Clears the guest's state and request until its next boot.
    pub(crate) fn clear_state(&self) {
        self.set(0, 0);
        self.set(4, 0);
    }

    /// Waits until it has made some more rounds.
    pub(crate) fn see_alive(&self) {
        let before = self.word(8);
        self.wait("the guest is alive", |guest| {
            guest.word(8).wrapping_sub(before) >= 3
        });
    }

    pub(crate) fn see_status(&self, status: Status) {
        self.wait(&format!("the machine is {status}"), |guest| {
            guest.machine.status() == status
        });
    }

    /// Waits for this event; ignores others.
    pub(crate) fn see_event(&self, event: Event) {
        self.wait(&format!("{event:?}"), |guest| {
            std::iter::from_fn(|| guest.machine.poll_event()).any(|next| next == event)
        });
    }

    #[track_caller]
    pub(crate) fn wait(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            let status = self.machine.status();
            assert!(
                Instant::now() < deadline && (holds(self) || !matches!(status, Status::Ended(_))),
                "not true: {what}; the machine: {status}; QEMU: {:?}",
                self.machine.stderr_lines()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}
