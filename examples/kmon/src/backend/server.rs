//! The server of a machine's doorbells: a process beside QEMU, which outlives
//! KMON as that does.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use kmon_qemu::Process;

/// How long it may take to serve.
const PATIENCE: Duration = Duration::from_secs(3);

/// By what it is found again.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct BackendRecord {
    pid: i32,
    start: u64,
}

/// An `ivshmem-server` that runs; it goes on when this is dropped.
pub(super) struct Server(Process);

/// One that ends when this is dropped: the machine that it is for is not there yet.
pub(super) struct Spawned(Option<Server>);

impl Spawned {
    /// The machine is there: from here on it goes on.
    pub(super) fn keep(mut self) -> Option<Server> {
        self.0.take()
    }

    pub(super) fn kept(&self) -> Option<BackendRecord> {
        self.0.as_ref().map(Server::kept)
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        self.0.iter().for_each(Server::kill);
    }
}

impl Server {
    /// Starts `program` on `region`, and waits until it serves at `socket`.
    ///
    /// # Errors
    ///
    /// Why it does not, in its own words if it has said any.
    pub(super) fn start(
        program: &Path,
        region: OwnedFd,
        socket: &Path,
        log: &Path,
    ) -> anyhow::Result<Spawned> {
        let _ = fs::remove_file(log);
        let child = Command::new(program)
            .arg("--socket")
            .arg(socket)
            // What it inherits as standard input.
            .args(["--memory", "file:/proc/self/fd/0"])
            .args(["--vectors", &kmon_qemu::VECTORS.to_string()])
            .arg("--log")
            .arg(log)
            .arg("--foreground")
            .stdin(region)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A `^C` at KMON's terminal is not for it.
            .process_group(0)
            .spawn()
            .with_context(|| {
                let program = program.display();
                format!("cannot run {program}; build it or name it with --ivshmem-server")
            })?;
        let server = Spawned(Some(Self(Process::from_child(child)?)));
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(socket).is_err() {
            let has_ended = server.0.as_ref().is_none_or(|one| one.0.has_ended());
            if has_ended || Instant::now() > deadline {
                let said = fs::read_to_string(log).unwrap_or_default();
                let last = said.lines().last().unwrap_or("it does not serve in time");
                bail!("{}: {last}", program.display());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// The one that an earlier KMON started, if it still runs.
    pub(super) fn find(kept: &BackendRecord) -> Option<Self> {
        Process::find(kept.pid, Some(kept.start)).ok().map(Self)
    }

    fn kept(&self) -> BackendRecord {
        BackendRecord {
            pid: self.0.pid(),
            start: self.0.start(),
        }
    }

    /// Ends it, and waits for that.
    pub(super) fn kill(&self) {
        self.0.kill();
        self.0.reap();
    }
}
