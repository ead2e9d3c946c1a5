//! One guest with all its terminals: two regions, each with a guest daemon, one with interrupts
//! and one that is polled; a serial port; a virtio console.

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
use crate::terminal::Terminal;

/// The places of the regions' memory in the guest.
const DOORBELL: &str = "pci:/sys/bus/pci/devices/0000:00:01.0/resource2";
const POLLED: &str = "pci:/sys/bus/pci/devices/0000:00:10.0/resource2";
/// Prevents statistics during other measurements.
const NEVER_MS: u32 = 3_600_000;

pub(crate) struct Rig {
    pub(crate) machine: Machine,
    /// The region of the guest daemon with interrupts.
    pub(crate) doorbell: Monitor,
    /// The region of the guest daemon that polls.
    pub(crate) polled: Monitor,
    pub(crate) terminals: Vec<Terminal>,
    _server: Running,
    _home: TempDir,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.machine.kill();
    }
}

/// The monitor as a peer of the machine.
struct DoorbellPeer(Mutex<Client>);

impl DoorbellPeer {
    fn client(&self) -> MutexGuard<'_, Client> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RingPeers for DoorbellPeer {
    fn ring(&self, _: Option<u16>, vector: u16) {
        self.client().ring_all(vector);
    }
}

impl Rig {
    /// Boots the guest, and starts an answering program in each terminal.
    pub(crate) fn start(signals: SigSet) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let (first, second) = (region("doorbell")?, region("polled")?);
        let socket = home.path().join("server");
        let limits = Limits {
            vectors: VECTORS,
            peers: 4,
        };
        let server = Server::bind(&socket, first.as_fd().try_clone_to_owned()?, limits)?;
        let server = server.spawn(|_| {})?;
        let (peer, waiting) = connect_peer(&socket)?;
        let doorbell = Monitor::start(first, &settings(2), waiting, move || {
            peer.client().update();
        })?;
        let polled = Monitor::start(second, &settings(3), Waiting::Poll, || {})?;
        let plan = plan(home.path(), &socket, second)?;
        let machine = plan.start(first.as_fd());
        let machine = machine.map_err(|error| anyhow::anyhow!("{error}"))?;
        end_with_signal(signals, machine.pid());
        let mut rig = Self {
            machine,
            doorbell,
            polled,
            terminals: Vec::new(),
            _server: server,
            _home: home,
        };
        rig.doorbell.wait_for_incarnation(0)?;
        rig.start_second(&[], 0)?;
        rig.load_modules()?;
        let home = rig._home.path();
        let serial = Terminal::from_socket(names::SERIAL, &home.join("ttyS0"))?;
        let virtio = Terminal::from_socket(names::VIRTIO, &home.join("hvc0"))?;
        let mut terminals = vec![
            rig.polled.terminal(names::POLLED)?,
            rig.doorbell.terminal(names::DOORBELL)?,
        ];
        for (mut terminal, device) in [(serial, "/dev/ttyS0"), (virtio, "/dev/hvc0")] {
            rig.doorbell.spawn(&["guest-echo", "line", device])?;
            terminal
                .wait_for_answerer()
                .with_context(|| format!("over {device}"))?;
            terminals.push(terminal);
        }
        rig.terminals = terminals;
        Ok(rig)
    }

    /// Starts the guest daemon that polls, after its incarnation number `before`.
    pub(crate) fn start_second(&self, more: &[&str], before: u32) -> Result<u32> {
        let words = ["guestd", "--poll", "--kernel-log=never", "--region", POLLED];
        let mut words = [&words[..], &["--pid-file", "/run/second.pid"]].concat();
        words.extend_from_slice(more);
        self.doorbell.run(&words)?;
        self.polled.wait_for_incarnation(before)
    }

    /// Returns the process number in a file of the guest.
    pub(crate) fn pid(&self, file: &str) -> Result<i32> {
        let printed = self.doorbell.run(&["cat", file])?;
        let number = printed.trim().parse();
        number.with_context(|| format!("{file} has no number, but {printed:?}"))
    }

    fn load_modules(&self) -> Result<()> {
        let script = format!(
            "while read -r path; do insmod $path || exit; done < {}",
            image::LISTED
        );
        self.doorbell.run(&["sh", "-c", &script]).map(drop)
    }
}

/// Blocks the signals that end a program, in this thread and in all that it starts later.
pub(crate) fn block_signals() -> Result<SigSet> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block()?;
    Ok(signals)
}

/// Lets a signal also kill the machine, which would otherwise go on.
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

fn connect_peer(socket: &Path) -> Result<(Arc<DoorbellPeer>, Waiting)> {
    let client = Client::connect(socket, VECTORS, Duration::from_secs(2));
    let client = client.map_err(|error| anyhow::anyhow!("{error}"))?;
    let own = |vector| {
        let bell = client.own(vector).map(Arc::clone);
        bell.context("the server gave too few doorbells")
    };
    let own = [own(RECORDS)?, own(ROOM)?];
    let number = client.id();
    let peer = Arc::new(DoorbellPeer(Mutex::new(client)));
    let peers: Arc<DoorbellPeer> = Arc::clone(&peer);
    Ok((peer, Waiting::Bells(Bells::for_monitor(number, own, peers))))
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
        // The kernel must not print to the serial port.
        append: format!("loglevel=0 shmr.region={DOORBELL}"),
        extra: extra.map(str::to_owned).to_vec(),
    })
}
