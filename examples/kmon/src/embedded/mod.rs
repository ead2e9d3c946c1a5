//! An instance on this machine: processes in namespaces of their own.
//!
//! ```text
//! kmon instance-init          makes the namespaces; keeps the region on descriptor 0
//!   └─ kmon instance-init     process 1 inside: host name, /proc, lo; reaps
//!        └─ guestd            the daemon, with the region's descriptor
//! ```
//!
//! - **N1** The first outlives the KMON that started it; the others die with the
//!   one above. So to kill the first is to kill the instance.
//! - **N2** A guestd that did not end in good order is started again, not more
//!   often than every second in the long run. The fate of one that did, or that
//!   never came up, is told upwards as an exit status.
//! - **N3** Of KMON's descriptors the instance gets its region and a pipe for
//!   messages. The first process keeps both ends of that one open, so that
//!   nobody who writes into it needs a KMON to be there.
//! - **N4** The first process waits for a word before it does anything: that its
//!   record is written (`rundir`, R3). A KMON that dies before takes it along.

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

/// What an instance is started from.
pub(crate) struct Launch<'a> {
    pub(crate) kmon: &'a Path,
    pub(crate) guestd: &'a Path,
    pub(crate) shell: Option<&'a Path>,
    pub(crate) name: &'a str,
}

/// The process that keeps an instance, and how to find its region again.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct ProcessRecord {
    pub(crate) pid: i32,
    /// When it started, in the kernel's ticks: numbers are used again.
    pub(crate) start: u64,
    /// Which start of the machine the ticks count from.
    pub(crate) boot: String,
    /// Its descriptor of the region.
    pub(crate) region: i32,
    /// Its descriptor for messages to KMON.
    pub(crate) messages: i32,
}

/// An instance's first process, which still waits for the word to begin (N4).
pub(crate) struct Spawned {
    process: Process,
    word: PipeWriter,
    messages: ChildStderr,
}

/// Makes the first process of an instance on `region`.
pub(crate) fn spawn(launch: &Launch<'_>, region: OwnedFd) -> anyhow::Result<Spawned> {
    if !launch.guestd.is_file() {
        bail!(
            "{} is not there; build guestd or name it with --guestd",
            launch.guestd.display()
        );
    }
    let (awaited, word) = std::io::pipe().context("pipe")?;
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
        word,
        messages,
    })
}

impl Spawned {
    /// What a later KMON needs to find it again.
    pub(crate) fn record(&self) -> ProcessRecord {
        ProcessRecord {
            pid: self.process.pid(),
            start: self.process.start(),
            boot: boot(),
            region: init::REGION,
            messages: init::MESSAGES,
        }
    }

    /// Lets it begin; `say` gets each line that it has to say.
    pub(crate) fn start(mut self, report: impl FnMut(String) + Send + 'static) -> Process {
        // If it is gone, its end shows.
        let _ = self.word.write_all(b"!");
        listen(File::from(OwnedFd::from(self.messages)), report);
        self.process
    }

    /// Takes it back.
    pub(crate) fn abort(self) {
        self.process.kill();
        self.process.reap();
    }
}

/// Finds an instance that an earlier KMON started, with its region.
///
/// # Errors
///
/// Its process is gone, or has not what it should have.
pub(crate) fn find(record: &ProcessRecord) -> anyhow::Result<(Process, Mapping)> {
    let process = find_process(record)?;
    let region = process.open(record.region, OpenOptions::new().read(true).write(true));
    let region = region
        .with_context(|| format!("descriptor {} of process {}", record.region, record.pid))?;
    let region = Mapping::from_fd(region.into()).context("its region")?;
    Ok((process, region))
}

/// As [`Spawned::start`] for one that has begun long ago.
pub(crate) fn listen_to(
    process: &Process,
    record: &ProcessRecord,
    report: impl FnMut(String) + Send + 'static,
) {
    // Without it the instance is as well as before, but silent.
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
        bail!("this machine was started anew since");
    }
    Ok(Process::find(record.pid, Some(record.start))?)
}

/// A name for the time since the machine's start.
fn boot() -> String {
    // Without it the ticks have to do.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    boot.unwrap_or_default().trim().to_owned()
}

/// The process of guestd, which is process `inside` in the namespace of the
/// instance whose first process is `outer`.
pub(crate) fn guestd_process(outer: &Process, inside: u32) -> Option<Process> {
    let first = children(outer.pid())?.next()?;
    // By what the instance says of itself only one of its own is ever found.
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

/// How an instance ended, out of what its first process told (N2).
pub(crate) fn describe_end(status: Option<ExitStatus>) -> String {
    let Some(status) = status else {
        return "its processes are gone".into();
    };
    match (status.code(), status.signal()) {
        (Some(init::CANNOT_START), _) => "guestd could not be started".into(),
        (Some(init::KILLED), _) => "its process 1 was killed".into(),
        (Some(code), _) => format!("guestd exited with status {code}"),
        (None, Some(signal)) => format!("its first process was killed by signal {signal}"),
        (None, None) => "nobody knows how".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_daemon_is_told_in_words() {
        let exited = |code: i32| describe_end(Some(ExitStatus::from_raw(code << 8)));
        assert_eq!(exited(3), "guestd exited with status 3");
        assert_eq!(exited(255), "guestd exited with status 255");
        assert_eq!(exited(125), "guestd could not be started");
        assert_eq!(exited(126), "its process 1 was killed");
        let killed = describe_end(Some(ExitStatus::from_raw(9)));
        assert_eq!(killed, "its first process was killed by signal 9");
        assert_eq!(describe_end(None), "its processes are gone");
    }
}
