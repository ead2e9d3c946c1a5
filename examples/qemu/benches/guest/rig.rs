//! One guest with every way to it: two regions, each with a guest daemon of its own, one with
//! interrupts and one that is polled; a serial port; a virtio console.

use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use ivshmem_server::{Client, Limits, Running, Server};
use kmon_protocol::Settings;
use kmon_protocol::link::bells::{RECORDS, ROOM, VECTORS};
use kmon_protocol::link::{Bells, MonitorLink, RingPeers, Waiting};
use kmon_qemu::{Accelerator, Boot, Machine, Plan, Transport};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use shmem_core::Mapping;
use tempfile::TempDir;

use crate::image;
use crate::monitor::Monitor;
use crate::names;
use crate::way::Way;

/// Where the guest has the memory of each region.
const RUNG: &str = "pci:/sys/bus/pci/devices/0000:00:01.0/resource2";
const POLLED: &str = "pci:/sys/bus/pci/devices/0000:00:10.0/resource2";
/// No statistics while something else is measured.
const NEVER_MS: u32 = 3_600_000;

pub(crate) struct Rig {
    pub(crate) machine: Machine,
    /// Its guest daemon is rung.
    pub(crate) rung: Monitor,
    /// Its guest daemon looks.
    pub(crate) polled: Monitor,
    pub(crate) ways: Vec<Way>,
    _server: Running,
    _home: TempDir,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.machine.kill();
    }
}

/// The monitor as a peer of the machine.
struct Door(Mutex<Client>);

impl Door {
    fn client(&self) -> MutexGuard<'_, Client> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RingPeers for Door {
    fn ring(&self, _: Option<u16>, vector: u16) {
        self.client().ring_all(vector);
    }
}

impl Rig {
    /// Boots it, and has a program answer at the end of each way.
    pub(crate) fn start(signals: SigSet) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let (first, second) = (region("rung")?, region("polled")?);
        let socket = home.path().join("server");
        let limits = Limits {
            vectors: VECTORS,
            peers: 4,
        };
        let server = Server::bind(&socket, first.as_fd().try_clone_to_owned()?, limits)?;
        let server = server.spawn(|_| {})?;
        let (door, waiting) = open_door(&socket)?;
        let rung = Monitor::over(first, &settings(2), waiting, move || {
            door.client().update();
        })?;
        let polled = Monitor::over(second, &settings(3), Waiting::Poll, || {})?;
        let plan = plan(home.path(), &socket, second)?;
        let machine = plan.start(first.as_fd());
        let machine = machine.map_err(|error| anyhow::anyhow!("{error}"))?;
        end_with_signal(signals, machine.pid());
        let mut rig = Self {
            machine,
            rung,
            polled,
            ways: Vec::new(),
            _server: server,
            _home: home,
        };
        rig.rung.wait_for_incarnation(0)?;
        rig.start_second(&[], 0)?;
        rig.load_modules()?;
        let home = rig._home.path();
        let serial = Way::over_socket(names::SERIAL, &home.join("ttyS0"))?;
        let virtio = Way::over_socket(names::VIRTIO, &home.join("hvc0"))?;
        let mut ways = vec![rig.polled.way(names::POLLED)?, rig.rung.way(names::RUNG)?];
        for (mut way, device) in [(serial, "/dev/ttyS0"), (virtio, "/dev/hvc0")] {
            rig.rung.start(&["guest-echo", "line", device])?;
            way.meet().with_context(|| format!("over {device}"))?;
            ways.push(way);
        }
        rig.ways = ways;
        Ok(rig)
    }

    /// Starts the guest daemon that looks, in place of one of incarnation number `before`.
    pub(crate) fn start_second(&self, more: &[&str], before: u32) -> Result<u32> {
        let words = ["guestd", "--poll", "--kernel-log=never", "--region", POLLED];
        let mut words = [&words[..], &["--pid-file", "/run/second.pid"]].concat();
        words.extend_from_slice(more);
        self.rung.run(&words)?;
        self.polled.wait_for_incarnation(before)
    }

    /// The process number in a file of the guest.
    pub(crate) fn pid(&self, file: &str) -> Result<i32> {
        let printed = self.rung.run(&["cat", file])?;
        let number = printed.trim().parse();
        number.with_context(|| format!("{file} has no number but {printed:?}"))
    }

    fn load_modules(&self) -> Result<()> {
        let script = format!(
            "while read -r path; do insmod $path || exit; done < {}",
            image::LISTED
        );
        self.rung.run(&["sh", "-c", &script]).map(drop)
    }
}

/// Keeps the signals that ask to end from every thread that is started later.
pub(crate) fn block_signals() -> Result<SigSet> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block()?;
    Ok(signals)
}

/// Lets a signal end the machine, too: it would outlive us.
fn end_with_signal(signals: SigSet, machine: i32) {
    thread::spawn(move || {
        let _ = signals.wait();
        let _ = kill(Pid::from_raw(machine), Signal::SIGKILL);
        std::process::exit(130);
    });
}

fn region(name: &str) -> Result<&'static Mapping> {
    let memory = Mapping::memfd(name, MonitorLink::REGION_LEN);
    let memory = memory.map_err(|error| anyhow::anyhow!("{error}"))?;
    // The monitor's thread uses it until the process ends.
    Ok(Box::leak(Box::new(memory)))
}

fn settings(partition: u8) -> Settings {
    Settings {
        partition,
        period_ms: NEVER_MS,
        name: "measured".to_owned(),
    }
}

fn open_door(socket: &Path) -> Result<(Arc<Door>, Waiting)> {
    let client = Client::connect(socket, VECTORS, Duration::from_secs(2));
    let client = client.map_err(|error| anyhow::anyhow!("{error}"))?;
    let own = |vector| {
        let bell = client.own(vector).map(Arc::clone);
        bell.context("the server gave too few bells")
    };
    let own = [own(RECORDS)?, own(ROOM)?];
    let number = client.id();
    let door = Arc::new(Door(Mutex::new(client)));
    let peers: Arc<Door> = Arc::clone(&door);
    Ok((door, Waiting::Bells(Bells::of_monitor(number, own, peers))))
}

fn plan(home: &Path, server: &Path, second: &Mapping) -> Result<Plan> {
    let initrd = home.join("initrd");
    image::write(&initrd)?;
    let memory = format!(
        "memory-backend-file,id=second,share=on,mem-path=/proc/{}/fd/{},size={}",
        std::process::id(),
        second.as_fd().as_raw_fd(),
        MonitorLink::REGION_LEN
    );
    let socket = |name: &str| {
        let path = home.join(name);
        format!(
            "socket,id={name},path={},server=on,wait=off",
            path.display()
        )
    };
    let extra = [
        "-object",
        &memory,
        "-device",
        "ivshmem-plain,memdev=second,addr=0x10",
        "-chardev",
        &socket("ttyS0"),
        "-device",
        "isa-serial,chardev=ttyS0",
        "-chardev",
        &socket("hvc0"),
        "-device",
        "virtio-serial-pci,addr=0x11",
        "-device",
        "virtconsole,chardev=hvc0",
    ];
    Ok(Plan {
        name: "measured".to_owned(),
        memory_mib: 192,
        vcpus: 1,
        boot: Boot::Kernel {
            kernel: image::built("guest/kernel/vmlinuz")?,
            initrd: Some(initrd),
        },
        transport: Transport::Doorbell {
            server: server.to_owned(),
        },
        accelerator: Accelerator::Tcg,
        qmp: home.join("qmp"),
        program: "qemu-system-x86_64".into(),
        // The kernel itself is to be silent on the serial port.
        append: format!("loglevel=0 shmr.region={RUNG}"),
        extra: extra.map(str::to_owned).to_vec(),
    })
}
