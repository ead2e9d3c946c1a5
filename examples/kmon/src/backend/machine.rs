//! A machine that QEMU makes, as a body.
//!
//! - **Q1** QEMU keeps the region, and outlives KMON; with it the server of its doorbells does.
//! - **Q2** QEMU begins before it can be recorded. So its arguments, and the server's, name a
//!   path in the run directory that is this instance's alone: whoever has such an argument and is
//!   in no record is found by it ([`kill_strays`]).

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kmon_protocol::link::Waiting;
use kmon_qemu::{End as QemuEnd, Event, Machine, Off, Plan, Status};
use shmem_core::Mapping;

use super::common::{Backend, Condition, End, Found, LastWords, Say, Spawned};
use super::door::Door;
use super::kept::{BackendRecord, KeptMachine};
use super::launch::Launch;
use super::server::{self, Server};
use crate::kind::{Accelerator, Boot, Qemu, Transport};
use kmon_qemu::Process;

/// The server of a machine's doorbells, before the machine is there, and KMON's
/// connection to it.
pub(super) struct Beside {
    server: server::Spawned,
    door: Arc<Door>,
}

/// QEMU, and who runs beside it.
struct Running {
    machine: Arc<Machine>,
    server: Option<Server>,
    door: Option<Arc<Door>>,
    /// Its guest may reset itself, or QEMU is just being told.
    may_reboot: Arc<AtomicBool>,
}

/// What it means that KMON cannot ring a machine that waits for that.
const SLOW: &str = "it looks for KMON's commands once a second; kmreset helps";

/// The option of QEMU, and that of the server, whose value is this instance's alone (Q2).
const MARKS: [&str; 2] = ["-pidfile", "--socket"];

/// The machine that `qemu` describes, with this instance's files.
fn plan(launch: &Launch<'_>, qemu: &Qemu) -> Plan {
    let files = launch.rundir.files(launch.number);
    let mut extra = vec![MARKS[0].to_owned(), files.pid.display().to_string()];
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

/// What has to be there before a machine on `memory`: nobody else at its sockets, and the
/// server of its doorbells if it has any.
pub(super) fn prepare(
    launch: &Launch<'_>,
    qemu: &Qemu,
    memory: &Mapping,
) -> anyhow::Result<Option<(Beside, Waiting)>> {
    plan(launch, qemu).check()?;
    kill_strays(launch);
    if qemu.transport != Transport::Doorbell {
        return Ok(None);
    }
    let files = launch.rundir.files(launch.number);
    let region = memory.as_fd().try_clone_to_owned()?;
    let program = &launch.programs.ivshmem_server;
    let server = Server::start(program, region, &files.door, &files.door_log)?;
    let (door, waiting) = Door::open(&files.door)?;
    Ok(Some((Beside { server, door }, waiting)))
}

pub(super) fn start(
    launch: &Launch<'_>,
    qemu: &Qemu,
    memory: &Mapping,
    beside: Option<Beside>,
) -> anyhow::Result<Spawned> {
    let machine = plan(launch, qemu).start(memory.as_fd())?;
    let kept = KeptMachine {
        machine: machine.record(),
        server: beside.as_ref().and_then(|beside| beside.server.kept()),
    };
    let (server, door) = match beside {
        Some(Beside { server, door }) => (server.keep(), Some(door)),
        None => (None, None),
    };
    let body = Running::over(machine, server, door);
    Ok(Spawned::Begun(body, BackendRecord::Machine(kept)))
}

pub(super) fn find(launch: &Launch<'_>, kept: &KeptMachine, mut say: Say) -> anyhow::Result<Found> {
    let (machine, region) = Machine::find(&kept.machine)?;
    let server = kept.server.as_ref().and_then(Server::find);
    let mut waiting = launch.kind.waiting();
    let mut door = None;
    if kept.server.is_some() {
        match Door::open(&launch.rundir.files(launch.number).door) {
            Ok((joined, bells)) => (door, waiting) = (Some(joined), bells),
            Err(error) => say(format!("{error:#}: {SLOW}")),
        }
    }
    Ok(Found {
        body: Running::over(machine, server, door),
        memory: Mapping::from_fd(region)?,
        waiting,
    })
}

/// Kills a machine of this instance that is in no record, and the server of one (Q2).
pub(super) fn kill_strays(launch: &Launch<'_>) {
    let files = launch.rundir.files(launch.number);
    for process in procfs::process::all_processes().into_iter().flatten() {
        let Ok(pid) = process.map(|process| process.pid) else {
            continue;
        };
        // Held first: what is read then is said of it, or of one that has ended.
        let Ok(held) = Process::find(pid, None) else {
            continue;
        };
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let has = |mark: &str, value: &Path| {
            let words: Vec<_> = line.split(|&byte| byte == 0).collect();
            let wanted = [mark.as_bytes(), value.as_os_str().as_bytes()];
            words.windows(2).any(|pair| pair == wanted)
        };
        if has(MARKS[0], &files.pid) || has(MARKS[1], &files.door) {
            held.kill();
            held.ends_within(Duration::from_secs(2));
        }
    }
}

impl Running {
    fn over(machine: Machine, server: Option<Server>, door: Option<Arc<Door>>) -> Arc<dyn Backend> {
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
    fn condition(&self, said: LastWords) -> Condition {
        let end = match self.machine.status() {
            Status::Starting | Status::Running | Status::Shutdown(_) => return Condition::Lives,
            Status::Paused => return Condition::Paused,
            Status::Panicked => return Condition::Panicked,
            Status::Ended(end) => end,
        };
        if let Some(server) = &self.server {
            server.kill();
        }
        let in_order = match end {
            QemuEnd::Off(Off::Guest | Off::Host) => true,
            QemuEnd::Code(0) | QemuEnd::Unknown => said.goodbye,
            _ => false,
        };
        let how = self.describe(end);
        Condition::Ended(End { in_order, how })
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

    fn greeted(&self) {
        if self.may_reboot.swap(true, Ordering::Relaxed) {
            return;
        }
        let (machine, may_reboot) = (Arc::clone(&self.machine), Arc::clone(&self.may_reboot));
        // QEMU may take its time to answer (B1). If it does not, a guest that resets itself
        // ends its machine instead.
        std::thread::spawn(move || {
            let told = machine.allow_reboot().is_ok();
            may_reboot.store(told, Ordering::Relaxed);
        });
    }

    fn tend(&self) -> Option<String> {
        let lost = self.door.as_ref()?.update()?;
        Some(format!(
            "the server of its doorbells is lost ({lost}): it goes on, kmreset starts another"
        ))
    }

    fn has_booted_anew(&self) -> bool {
        let events = std::iter::from_fn(|| self.machine.poll_event());
        events.fold(false, |anew, event| {
            anew | matches!(event, Event::Reset { .. })
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

    fn with_mark(mark: &str, value: &Path) -> Child {
        let mut reader = Command::new("sh");
        reader.args(["-c", "read line", "sh", mark]).arg(value);
        reader.stdin(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn a_machine_that_is_in_no_record_is_found_by_its_files_and_no_other_is() {
        let home = tempfile::tempdir().unwrap();
        let rundir = RunDir::open(Some(&home.path().join("run"))).unwrap();
        let nobody = || home.path().join("nobody");
        let programs = Programs {
            kmon: nobody(),
            guestd: nobody(),
            ivshmem_server: nobody(),
        };
        let launch = Launch {
            number: 2,
            name: "part2",
            kind: &Kind::Process { shell: None },
            programs: &programs,
            rundir: &rundir,
        };
        let (own, other) = (rundir.files(2), rundir.files(3));
        let mut strays = [
            with_mark("-pidfile", &own.pid),
            with_mark("--socket", &own.door),
        ];
        let mut others = [
            with_mark("-pidfile", &other.pid),
            with_mark("--log", &own.door),
        ];
        kill_strays(&launch);
        for stray in &mut strays {
            assert!(!stray.wait().unwrap().success());
        }
        for other in &mut others {
            assert!(other.try_wait().unwrap().is_none());
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }
}
