//! A machine's doorbell server: a process that outlives KMON, as QEMU does.

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

/// How long it may take until it serves.
const PATIENCE: Duration = Duration::from_secs(3);

/// The record by which it is found.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct ServerRecord {
    pid: i32,
    start: u64,
}

/// A running `ivshmem-server`. It continues to run when this is dropped.
pub(super) struct Server(Process);

/// A server whose machine is not started yet. It ends when this is dropped.
pub(super) struct Spawned(Option<Server>);

impl Spawned {
    /// Keeps the server running, because its machine has started.
    pub(super) fn keep(mut self) -> Option<Server> {
        self.0.take()
    }

    pub(super) fn record(&self) -> Option<ServerRecord> {
        self.0.as_ref().map(Server::record)
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
    /// The reason why it does not serve, from its log if there is one.
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
            // The descriptor that it inherits as standard input.
            .args(["--memory", "file:/proc/self/fd/0"])
            .args(["--vectors", &kmon_qemu::VECTORS.to_string()])
            .arg("--log")
            .arg(log)
            .arg("--foreground")
            .stdin(region)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A `^C` at KMON's terminal does not reach it.
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
                let messages = fs::read_to_string(log).unwrap_or_default();
                let last = messages
                    .lines()
                    .last()
                    .unwrap_or("it did not start to serve in time");
                bail!("{}: {last}", program.display());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Finds the server that an earlier KMON started, if it still runs.
    pub(super) fn find(record: &ServerRecord) -> Option<Self> {
        Process::find(record.pid, Some(record.start)).ok().map(Self)
    }

    fn record(&self) -> ServerRecord {
        ServerRecord {
            pid: self.0.pid(),
            start: self.0.start(),
        }
    }

    /// Ends it, and waits until it has ended.
    pub(super) fn kill(&self) {
        self.0.kill();
        self.0.reap();
    }
}
