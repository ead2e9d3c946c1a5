//! A machine under QEMU, as a backend.
//!
//! - **Q1** QEMU keeps the region. It outlives KMON, and so does its doorbell server.
//! - **Q2** QEMU starts before it can be recorded. So its arguments, and those of the server, name
//!   a path in the run directory that only this instance uses. [`kill_unrecorded`] finds a process
//!   without a record by this argument.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kmon_protocol::link::Waiting;
use kmon_qemu::{End as QemuEnd, Event, Machine, Off, Plan, Status};
use shmem_core::Mapping;

use super::common::{Backend, Condition, End, EndSignals, Found, MessageSink, Spawned};
use super::doorbell::DoorbellClient;
use super::launch::Launch;
use super::record::{BackendRecord, MachineRecord};
use super::server::{self, Server};
use crate::kind::{Accelerator, Boot, Qemu, Transport};
use kmon_qemu::Process;

/// A machine's doorbell server, before the machine is started, and KMON's connection to it.
pub(super) struct DoorbellServer {
    server: server::Spawned,
    door: Arc<DoorbellClient>,
}

/// QEMU, and the processes that belong to it.
struct Running {
    machine: Arc<Machine>,
    server: Option<Server>,
    door: Option<Arc<DoorbellClient>>,
    /// QEMU allows its guest to reboot, or KMON is requesting this.
    may_reboot: Arc<AtomicBool>,
}

/// The effect when KMON cannot ring a machine that waits for its doorbell.
const SLOW: &str = "the machine now checks for commands only once a second; kmreset repairs this";

/// The options of QEMU and of the server whose value only this instance uses (Q2).
const MARKER_OPTIONS: [&str; 2] = ["-pidfile", "--socket"];

/// Returns the plan of the machine that `qemu` describes, with this instance's files.
fn plan(launch: &Launch<'_>, qemu: &Qemu) -> Plan {
    let files = launch.rundir.files(launch.number);
    let mut extra = vec![
        MARKER_OPTIONS[0].to_owned(),
        files.pid.display().to_string(),
    ];
    extra.extend(qemu.extra.iter().cloned());
    Plan {
        name: launch.name.to_owned(),
        memory_mib: qemu.memory_mib,
        vcpus: qemu.vcpus,
        boot: match qemu.boot.clone() {
            Boot::Kernel { kernel, initrd } => kmon_qemu::Boot::Kernel { kernel, initrd },
            Boot::Disk(disk) => kmon_qemu::Boot::Disk(disk),
        },
        transport: match qemu.transport {
            Transport::Ivshmem => kmon_qemu::Transport::Ivshmem,
            Transport::Reserved => kmon_qemu::Transport::Reserved,
            Transport::Doorbell => kmon_qemu::Transport::Doorbell { server: files.door },
        },
        accelerator: match qemu.accelerator {
            Accelerator::Tcg => kmon_qemu::Accelerator::Tcg,
            Accelerator::Kvm => kmon_qemu::Accelerator::Kvm,
        },
        qmp: files.qmp,
        program: qemu.program.clone(),
        append: qemu.append.clone(),
        extra,
    }
}

/// Prepares a machine on `memory`: frees its sockets, and starts its doorbell server if it
/// has any.
pub(super) fn prepare(
    launch: &Launch<'_>,
    qemu: &Qemu,
    memory: &Mapping,
) -> anyhow::Result<Option<(DoorbellServer, Waiting)>> {
    plan(launch, qemu).check()?;
    kill_unrecorded(launch);
    if qemu.transport != Transport::Doorbell {
        return Ok(None);
    }
    let files = launch.rundir.files(launch.number);
    let region = memory.as_fd().try_clone_to_owned()?;
    let program = &launch.programs.ivshmem_server;
    let server = Server::start(program, region, &files.door, &files.door_log)?;
    let (door, waiting) = DoorbellClient::open(&files.door)?;
    Ok(Some((DoorbellServer { server, door }, waiting)))
}

pub(super) fn start(
    launch: &Launch<'_>,
    qemu: &Qemu,
    memory: &Mapping,
    helper: Option<DoorbellServer>,
) -> anyhow::Result<Spawned> {
    let machine = plan(launch, qemu).start(memory.as_fd())?;
    let record = MachineRecord {
        machine: machine.record(),
        server: helper.as_ref().and_then(|helper| helper.server.record()),
    };
    let (server, door) = match helper {
        Some(DoorbellServer { server, door }) => (server.keep(), Some(door)),
        None => (None, None),
    };
    let backend = Running::backend(machine, server, door);
    Ok(Spawned::Started(backend, BackendRecord::Machine(record)))
}

pub(super) fn find(
    launch: &Launch<'_>,
    record: &MachineRecord,
    mut report: MessageSink,
) -> anyhow::Result<Found> {
    let (machine, region) = Machine::find(&record.machine)?;
    let server = record.server.as_ref().and_then(Server::find);
    let mut waiting = launch.kind.waiting();
    let mut door = None;
    if record.server.is_some() {
        match DoorbellClient::open(&launch.rundir.files(launch.number).door) {
            Ok((joined, bells)) => (door, waiting) = (Some(joined), bells),
            Err(error) => report(format!("{error:#}: {SLOW}")),
        }
    }
    Ok(Found {
        backend: Running::backend(machine, server, door),
        memory: Mapping::from_fd(region)?,
        waiting,
    })
}

/// Kills a machine of this instance that has no record, and such a server (Q2).
pub(super) fn kill_unrecorded(launch: &Launch<'_>) {
    let files = launch.rundir.files(launch.number);
    for process in procfs::process::all_processes().into_iter().flatten() {
        let Ok(pid) = process.map(|process| process.pid) else {
            continue;
        };
        // Opened first, so that the command line is that of this process, or of none.
        let Ok(held) = Process::find(pid, None) else {
            continue;
        };
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let has = |mark: &str, value: &Path| {
            let words: Vec<_> = line.split(|&byte| byte == 0).collect();
            let wanted = [mark.as_bytes(), value.as_os_str().as_bytes()];
            words.windows(2).any(|pair| pair == wanted)
        };
        if has(MARKER_OPTIONS[0], &files.pid) || has(MARKER_OPTIONS[1], &files.door) {
            held.kill();
            held.ends_within(Duration::from_secs(2));
        }
    }
}

impl Running {
    fn backend(
        machine: Machine,
        server: Option<Server>,
        door: Option<Arc<DoorbellClient>>,
    ) -> Arc<dyn Backend> {
        Arc::new(Self {
            machine: Arc::new(machine),
            server,
            door,
            may_reboot: Arc::default(),
        })
    }

    fn describe(&self, end: QemuEnd) -> String {
        match (end, self.machine.stderr_lines().pop()) {
            (QemuEnd::Code(1..), Some(line)) => format!("{end}: {line}"),
            _ => end.to_string(),
        }
    }
}

impl Backend for Running {
    fn condition(&self, signals: EndSignals) -> Condition {
        let end = match self.machine.status() {
            Status::Starting | Status::Running | Status::Shutdown(_) => return Condition::Alive,
            Status::Paused => return Condition::Paused,
            Status::Panicked => return Condition::Panicked,
            Status::Ended(end) => end,
        };
        if let Some(server) = &self.server {
            server.kill();
        }
        let is_clean = match end {
            QemuEnd::Off(Off::Guest | Off::Host) => true,
            QemuEnd::Code(0) | QemuEnd::Unknown => signals.goodbye,
            _ => false,
        };
        let how = self.describe(end);
        Condition::Ended(End { is_clean, how })
    }

    fn kill(&self) {
        self.machine.kill();
    }

    fn pid(&self) -> Option<i32> {
        Some(self.machine.pid())
    }

    fn age(&self) -> Duration {
        let process = Process::find(self.machine.pid(), None);
        process.map_or(Duration::ZERO, |process| process.age())
    }

    fn note_greeting(&self) {
        if self.may_reboot.swap(true, Ordering::Relaxed) {
            return;
        }
        let (machine, may_reboot) = (Arc::clone(&self.machine), Arc::clone(&self.may_reboot));
        // QEMU may answer late (B1). If it never answers, a guest that reboots ends its machine
        // instead.
        std::thread::spawn(move || {
            let is_allowed = machine.allow_reboot().is_ok();
            may_reboot.store(is_allowed, Ordering::Relaxed);
        });
    }

    fn maintain(&self) -> Option<String> {
        let lost = self.door.as_ref()?.update()?;
        Some(format!(
            "its doorbell server has ended ({lost}); the machine continues; kmreset starts a new server"
        ))
    }

    fn has_rebooted(&self) -> bool {
        let events = std::iter::from_fn(|| self.machine.poll_event());
        events.fold(false, |has_rebooted, event| {
            has_rebooted | matches!(event, Event::Reset { .. })
        })
    }

    fn power_down(&self) -> anyhow::Result<bool> {
        self.machine.power_down()?;
        Ok(true)
    }

    fn pause(&self) -> anyhow::Result<()> {
        Ok(self.machine.pause()?)
    }

    fn resume(&self) -> anyhow::Result<()> {
        Ok(self.machine.resume()?)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::backend::Programs;
    use crate::kind::Kind;
    use crate::rundir::RunDir;

    fn process_with_option(mark: &str, value: &Path) -> Child {
        let mut reader = Command::new("sh");
        reader.args(["-c", "read line", "sh", mark]).arg(value);
        reader.stdin(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn only_processes_without_a_record_that_use_this_instances_files_are_killed() {
        let home = tempfile::tempdir().unwrap();
        let rundir = RunDir::open(Some(&home.path().join("run"))).unwrap();
        let no_program = || home.path().join("no-program");
        let programs = Programs {
            kmon: no_program(),
            guestd: no_program(),
            ivshmem_server: no_program(),
        };
        let launch = Launch {
            number: 2,
            name: "part2",
            kind: &Kind::Process { shell: None },
            programs: &programs,
            rundir: &rundir,
        };
        let (own, other) = (rundir.files(2), rundir.files(3));
        let mut unrecorded = [
            process_with_option("-pidfile", &own.pid),
            process_with_option("--socket", &own.door),
        ];
        let mut others = [
            process_with_option("-pidfile", &other.pid),
            process_with_option("--log", &own.door),
        ];
        kill_unrecorded(&launch);
        for process in &mut unrecorded {
            assert!(!process.wait().unwrap().success());
        }
        for other in &mut others {
            assert!(other.try_wait().unwrap().is_none());
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }
}
