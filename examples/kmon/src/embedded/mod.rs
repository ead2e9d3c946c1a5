//! An instance on this machine: processes in namespaces of their own.
//!
//! ```text
//! kmon instance-init          makes the namespaces; keeps the region on descriptor 0
//!   └─ kmon instance-init     process 1 inside: host name, /proc, lo; reaps
//!        └─ guestd            the daemon, with the region's descriptor
//! ```
//!
//! - **N1** The first process outlives the KMON that started it. Each other process dies with the
//!   one above it. So killing the first process kills the instance.
//! - **N2** A guestd that fails is started again, at most about once a second. If it exits with
//!   status 0, or its first start fails, the exit status is passed upwards.
//! - **N3** Of KMON's descriptors the instance gets its region and a pipe for messages. The first
//!   process keeps both ends of the pipe open, so that writing to it works without a KMON.
//! - **N4** The first process does nothing before KMON reports that its record is written
//!   (`rundir`, R3). If KMON dies before, the process ends.

pub(crate) mod init;
mod messages;
mod namespaces;

use std::fs::{self, File, OpenOptions};
use std::io::{PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ChildStderr, Command, ExitStatus, Stdio};

use anyhow::{Context, bail};
use kmon_qemu::Process;
use serde::{Deserialize, Serialize};
use shmem_core::Mapping;

use messages::listen;

/// What is needed to start an instance.
pub(crate) struct Launch<'a> {
    pub(crate) kmon: &'a Path,
    pub(crate) guestd: &'a Path,
    pub(crate) shell: Option<&'a Path>,
    pub(crate) name: &'a str,
}

/// The record of an instance's first process, by which a later KMON finds it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct ProcessRecord {
    pub(crate) pid: i32,
    /// When it started, in ticks of the kernel: process numbers are reused.
    pub(crate) start: u64,
    /// The boot from which the ticks count.
    pub(crate) boot: String,
    /// Its descriptor of the region.
    pub(crate) region: i32,
    /// Its descriptor for messages to KMON.
    pub(crate) messages: i32,
}

/// An instance's first process, which waits to be started (N4).
pub(crate) struct Spawned {
    process: Process,
    start: PipeWriter,
    messages: ChildStderr,
}

/// Makes the first process of an instance on `region`.
pub(crate) fn spawn(launch: &Launch<'_>, region: OwnedFd) -> anyhow::Result<Spawned> {
    if !launch.guestd.is_file() {
        bail!(
            "{} does not exist; build guestd or name it with --guestd",
            launch.guestd.display()
        );
    }
    let (awaited, start) = std::io::pipe().context("pipe")?;
    let mut command = Command::new(launch.kmon);
    command
        .arg("instance-init")
        .args(["--hostname", launch.name])
        .arg("--guestd")
        .arg(launch.guestd);
    if let Some(shell) = launch.shell {
        command.arg("--shell").arg(shell);
    }
    let mut child = command
        .stdin(region)
        .stdout(awaited)
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", launch.kmon.display()))?;
    let messages = child.stderr.take().context("pipe")?;
    Ok(Spawned {
        process: Process::from_child(child)?,
        start,
        messages,
    })
}

impl Spawned {
    /// Returns the record by which a later KMON finds it.
    pub(crate) fn record(&self) -> ProcessRecord {
        ProcessRecord {
            pid: self.process.pid(),
            start: self.process.start(),
            boot: boot(),
            region: init::REGION,
            messages: init::MESSAGES,
        }
    }

    /// Starts the instance; `report` receives each of its messages.
    pub(crate) fn start(mut self, report: impl FnMut(String) + Send + 'static) -> Process {
        // If the process has ended, KMON notices its end.
        let _ = self.start.write_all(b"!");
        listen(File::from(OwnedFd::from(self.messages)), report);
        self.process
    }

    /// Ends it before it was recorded.
    pub(crate) fn abort(self) {
        self.process.kill();
        self.process.reap();
    }
}

/// Finds an instance that an earlier KMON started, with its region.
///
/// # Errors
/// Its process has ended, or has no valid region.
pub(crate) fn find(record: &ProcessRecord) -> anyhow::Result<(Process, Mapping)> {
    let process = find_process(record)?;
    let region = process.open(record.region, OpenOptions::new().read(true).write(true));
    let region = region
        .with_context(|| format!("descriptor {} of process {}", record.region, record.pid))?;
    let region = Mapping::from_fd(region.into()).context("its region")?;
    Ok((process, region))
}

/// Receives the messages of an instance that an earlier KMON started.
pub(crate) fn listen_to(
    process: &Process,
    record: &ProcessRecord,
    report: impl FnMut(String) + Send + 'static,
) {
    // Without this pipe the instance works, but its messages are lost.
    if let Ok(messages) = process.open(record.messages, OpenOptions::new().read(true)) {
        listen(messages, report);
    }
}

/// Kills what is left of an instance that an earlier KMON started.
pub(crate) fn kill(record: &ProcessRecord) {
    if let Ok(process) = find_process(record) {
        process.kill();
    }
}

fn find_process(record: &ProcessRecord) -> anyhow::Result<Process> {
    if record.boot != boot() {
        bail!("this machine was rebooted since");
    }
    Ok(Process::find(record.pid, Some(record.start))?)
}

/// Returns the identifier of this boot.
fn boot() -> String {
    // Without it, only the ticks identify a process.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    boot.unwrap_or_default().trim().to_owned()
}

/// Returns the process of guestd, which is process `inside` in the namespace of the instance whose
/// first process is `outer`.
pub(crate) fn guestd_process(outer: &Process, inside: u32) -> Option<Process> {
    let first = children(outer.pid())?.next()?;
    // `inside` comes from the instance, so only the instance's own processes are searched.
    let mut guestd = children(first.pid)?.filter(|process| {
        let numbers = process.status().ok().and_then(|status| status.nspid);
        numbers.and_then(|numbers| numbers.last().copied()) == i32::try_from(inside).ok()
    });
    Process::find(guestd.next()?.pid, None).ok()
}

fn children(parent: i32) -> Option<impl Iterator<Item = procfs::process::Process>> {
    let processes = procfs::process::all_processes().ok()?;
    Some(processes.filter_map(move |process| {
        let process = process.ok()?;
        (process.stat().ok()?.ppid == parent).then_some(process)
    }))
}

/// Describes how an instance ended, from the exit status of its first process (N2).
pub(crate) fn describe_end(status: Option<ExitStatus>) -> String {
    let Some(status) = status else {
        return "its processes have ended".into();
    };
    match (status.code(), status.signal()) {
        (Some(init::CANNOT_START), _) => "guestd could not be started".into(),
        (Some(init::KILLED), _) => "its process 1 was killed".into(),
        (Some(code), _) => format!("guestd exited with status {code}"),
        (None, Some(signal)) => format!("its first process was killed by signal {signal}"),
        (None, None) => "for an unknown reason".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_guestd_is_described_in_words() {
        let exited = |code: i32| describe_end(Some(ExitStatus::from_raw(code << 8)));
        assert_eq!(exited(3), "guestd exited with status 3");
        assert_eq!(exited(255), "guestd exited with status 255");
        assert_eq!(exited(125), "guestd could not be started");
        assert_eq!(exited(126), "its process 1 was killed");
        let killed = describe_end(Some(ExitStatus::from_raw(9)));
        assert_eq!(killed, "its first process was killed by signal 9");
        assert_eq!(describe_end(None), "its processes have ended");
    }
}
