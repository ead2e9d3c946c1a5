//! The run directory: the socket of the server, and the files that one server leaves for the next.
//!
//! | file         | content                                                  |
//! |--------------|----------------------------------------------------------|
//! | `lock`       | the process number of the server that holds the lock     |
//! | `kmon.sock`  | the socket of the server                                 |
//! | `server.json` | how a server is started again that did not end cleanly ([`StartRecord`]) |
//! | `kmon.log`   | the messages of servers that clients have started        |
//! | `N.json`     | instance N, and what it consists of ([`Record`])         |
//! | `N.log`      | the output of instance N (`instance::log`)               |
//! | `N.kernel`   | the log of its kernel                                    |
//! | `N.qmp`      | for a machine: the socket of QEMU's monitor              |
//! | `N.pid`      | the number of QEMU's process                             |
//! | `N.door`     | the socket of its doorbell server                      |
//! | `N.door.log` | the log of that server                                   |
//! | `logs/`      | logs with times (`disklog`), unless they are elsewhere   |
//!
//! - **R1** One server at a time holds the lock, and only that one uses the other files. The kernel
//!   releases the lock when it ends, however it ends.
//! - **R2** A record is replaced as a whole: the file has either the old or the new one.
//! - **R3** An instance's process waits until its record is written, so no process is left without
//!   one. The processes of a machine start earlier: a provisional record announces them, and they
//!   are recognized by the paths of their files here.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::unistd::geteuid;
use rustix::fs::{FallocateFlags, FlockOperation};
use serde::{Deserialize, Serialize};

use crate::backend::BackendRecord;
use crate::kind::Kind;

/// How long a KMON that was just killed may take to release its lock.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// The record of an instance.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Record {
    pub(crate) number: u8,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// `None` if it is halted.
    #[serde(rename = "body")]
    pub(crate) backend: Option<BackendRecord>,
}

/// The files of a machine, apart from its record and its logs.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) qmp: PathBuf,
    pub(crate) pid: PathBuf,
    pub(crate) door: PathBuf,
    pub(crate) door_log: PathBuf,
}

/// Another server uses the directory.
#[derive(Debug)]
pub(crate) struct InUse(String);

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InUse {}

/// The locked directory.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    _lock: File,
}

/// Bytes of the longest expected record.
const MAX_RECORD: usize = 8192;

impl RunDir {
    /// Locks the directory `path`, or the default one of this user. Creates it if it does not
    /// exist.
    ///
    /// # Errors
    ///
    /// Another KMON uses it, other users can access it, or it cannot be created.
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let path = locate(path)?;
        let shown = path.display().to_string();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.with_context(|| {
            format!("{shown} cannot be created; --run-dir names another directory")
        })?;
        let lock = require_own(&path).and_then(|()| lock(&path));
        Ok(Self {
            _lock: lock.context(shown)?,
            path,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets other users reach the socket, or nobody reach anything. All other files stay those of
    /// this user alone.
    pub(crate) fn share(&self, is_shared: bool) -> anyhow::Result<()> {
        let (directory, socket) = if is_shared {
            (0o711, 0o666)
        } else {
            (0o700, 0o600)
        };
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        for file in fs::read_dir(&self.path)?.flatten() {
            if file.file_type()?.is_file() {
                set(&file.path(), 0o600)?;
            }
        }
        set(&socket_in(&self.path), socket)?;
        set(&self.path, directory)?;
        Ok(())
    }

    /// Notes how the server is started again, should it die.
    pub(crate) fn save_start(&self, start: &StartRecord) -> anyhow::Result<()> {
        let file = self.path.join(START);
        write_own(&file, &serde_json::to_vec(start)?)
            .with_context(|| format!("{} cannot be written", file.display()))
    }

    /// Removes what only a server that runs has. Called at a clean end.
    pub(crate) fn remove_socket(&self) {
        for file in [socket_in(&self.path), self.path.join(START)] {
            // It may not exist.
            let _ = fs::remove_file(file);
        }
    }

    /// Returns the records of earlier KMONs' instances, by number. Skips files that are not
    /// records.
    pub(crate) fn records(&self) -> Vec<Record> {
        let Ok(listing) = fs::read_dir(&self.path) else {
            return Vec::new();
        };
        let files = listing.filter_map(|entry| Some(entry.ok()?.path()));
        let mut records: Vec<Record> = files
            .filter(|file| file.extension().is_some_and(|end| end == "json"))
            .filter_map(|file| {
                let record: Record = serde_json::from_slice(&fs::read(&file).ok()?).ok()?;
                (file == self.record(record.number)).then_some(record)
            })
            .collect();
        records.sort_by_key(|record| record.number);
        records
    }

    /// Replaces an instance's record by `record` (R2).
    pub(crate) fn save(&self, record: &Record) -> anyhow::Result<()> {
        let file = self.record(record.number);
        let fresh = file.with_extension("new");
        let text = serde_json::to_vec(record)?;
        write_own(&fresh, &text)
            .and_then(|()| fs::rename(&fresh, &file))
            .with_context(|| format!("{} cannot be written", file.display()))
    }

    /// Checks that there is room for a record, by writing a file and removing it.
    ///
    /// # Errors
    ///
    /// A record cannot be written.
    pub(crate) fn require_room(&self, number: u8) -> anyhow::Result<()> {
        let probe = self.record(number).with_extension("new");
        let written = fs::write(&probe, [b' '; MAX_RECORD]);
        // The file may not exist.
        let _ = fs::remove_file(&probe);
        written.with_context(|| format!("{} cannot be written", probe.display()))
    }

    /// Removes all files of instance `number`, including its output.
    pub(crate) fn forget(&self, number: u8) {
        let (record, log, kernel) = (self.record(number), self.log(number), self.kernel(number));
        // A KMON that was killed may have left temporary files.
        let half = [record.with_extension("new"), log.with_extension("fresh")];
        let Files {
            qmp,
            pid,
            door,
            door_log,
        } = self.files(number);
        // The logs stay mapped until this server ends, but they need no memory any more.
        free_blocks(&log);
        free_blocks(&kernel);
        let all = [record, log, kernel, qmp, pid, door, door_log];
        for file in all.iter().chain(&half) {
            // The file may not exist.
            let _ = fs::remove_file(file);
        }
    }

    /// Returns the file of the output of instance `number`.
    pub(crate) fn log(&self, number: u8) -> PathBuf {
        self.path.join(format!("{number}.log"))
    }

    /// Returns the directory for the logs of a KMON with a run directory of its own choice.
    pub(crate) fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Returns the file of its kernel's log.
    pub(crate) fn kernel(&self, number: u8) -> PathBuf {
        self.path.join(format!("{number}.kernel"))
    }

    /// Returns a machine's files.
    pub(crate) fn files(&self, number: u8) -> Files {
        let file = |end: &str| self.path.join(format!("{number}.{end}"));
        Files {
            qmp: file("qmp"),
            pid: file("pid"),
            door: file("door"),
            door_log: file("door.log"),
        }
    }

    fn record(&self, number: u8) -> PathBuf {
        self.path.join(format!("{number}.json"))
    }
}

const START: &str = "server.json";

/// How a server was started.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct StartRecord {
    pub(crate) directory: PathBuf,
    pub(crate) arguments: Vec<String>,
}

/// Returns the path of the directory that `path` names, or of the default one of this user.
pub(crate) fn locate(path: Option<&Path>) -> anyhow::Result<PathBuf> {
    Ok(match path {
        // Instances start in another directory, so the path becomes absolute.
        Some(path) => std::path::absolute(path)?,
        None => default_path(),
    })
}

/// Returns the socket of the server that uses the directory `path`.
pub(crate) fn socket_in(path: &Path) -> PathBuf {
    path.join("kmon.sock")
}

/// Returns how the server of the directory `path` was started; `None` if it has ended cleanly.
pub(crate) fn start_record(path: &Path) -> Option<StartRecord> {
    serde_json::from_slice(&fs::read(path.join(START)).ok()?).ok()
}

/// Frees the blocks of a file, which then contains zeros. Mappings of it stay valid.
fn free_blocks(file: &Path) {
    let Ok(file) = OpenOptions::new().write(true).open(file) else {
        return;
    };
    let len = file.metadata().map_or(0, |about| about.len());
    let holes = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    // Where the file system cannot do it, the blocks are freed later.
    let _ = rustix::fs::fallocate(&file, holes, 0, len.max(1));
}

/// Writes a file that only this user can read.
fn write_own(file: &Path, text: &[u8]) -> io::Result<()> {
    let mut open = OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(0o600);
    open.open(file)?.write_all(text)
}

/// Returns `$XDG_RUNTIME_DIR/kmon`, or `/tmp/kmon-UID` if that variable is not set.
fn default_path() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) if !directory.is_empty() => PathBuf::from(directory).join("kmon"),
        _ => format!("/tmp/kmon-{}", geteuid()).into(),
    }
}

/// Returns this user's directory for files that outlive a reboot, if there is one.
pub(crate) fn state_directory() -> Option<PathBuf> {
    match std::env::var_os("XDG_STATE_HOME") {
        Some(state) if !state.is_empty() => Some(state.into()),
        _ => Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")),
    }
}

/// Checks that only this user can access `path`: others could make KMON kill or read what they
/// choose.
fn require_own(path: &Path) -> anyhow::Result<()> {
    // Does not follow links: in `/tmp`, anyone could have created one.
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() {
        bail!("it is not a directory; --run-dir names another one");
    }
    if found.uid() != geteuid().as_raw() {
        bail!("it belongs to another user; --run-dir names another directory");
    }
    // Others may pass through to the socket, if the configuration says so.
    if found.mode() & 0o066 != 0 {
        bail!("other users can access it (chmod 700); --run-dir names another directory");
    }
    Ok(())
}

fn lock(path: &Path) -> anyhow::Result<File> {
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path.join("lock"))?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    while let Err(error) = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(io::Error::from(error).into());
        }
        if Instant::now() > deadline {
            let mut pid = String::new();
            // The holder writes its process number; it may not have done so yet.
            let _ = lock.read_to_string(&mut pid);
            let pid = pid.trim();
            bail!(InUse(format!(
                "another KMON (process {pid}) uses it; --run-dir names another directory"
            )));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())?;
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u8, pid: i32) -> Record {
        Record {
            number,
            name: format!("part{number}"),
            kind: Kind::Process { shell: None },
            backend: Some(BackendRecord::Process(crate::embedded::ProcessRecord {
                pid,
                start: 77,
                boot: "b".into(),
                region: 0,
                messages: 2,
            })),
        }
    }

    #[test]
    fn records_are_read_back_in_order_replaced_and_removed() {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join("a/run");
        let run = RunDir::open(Some(&place)).unwrap();
        for number in [10, 2] {
            run.save(&record(number, 1)).unwrap();
        }
        run.save(&record(2, 5)).unwrap();
        assert_eq!(run.records(), [record(2, 5), record(10, 1)]);
        fs::write(place.join("3.json"), "{ not a record").unwrap();
        fs::write(
            place.join("4.json"),
            fs::read(place.join("2.json")).unwrap(),
        )
        .unwrap();
        run.forget(10);
        assert_eq!(run.records(), [record(2, 5)]);
    }

    #[test]
    fn a_second_kmon_is_refused_with_the_process_of_the_first() {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join("run");
        let first = RunDir::open(Some(&place)).unwrap();
        let error = RunDir::open(Some(&place)).unwrap_err();
        let error = format!("{error:#}");
        let pid = std::process::id();
        assert!(error.contains(&format!("another KMON (process {pid})")));
        assert!(error.contains("--run-dir") && !error.contains('\n'));
        drop(first);
        assert!(RunDir::open(Some(&place)).is_ok());
    }

    #[test]
    fn a_directory_that_others_can_access_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let open = home.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let link = home.path().join("link");
        std::os::unix::fs::symlink(home.path(), &link).unwrap();
        for (path, says) in [
            (&open, "other users can access it"),
            (&link, "not a directory"),
        ] {
            let error = format!("{:#}", RunDir::open(Some(path)).unwrap_err());
            assert!(
                error.contains(says) && error.contains("--run-dir"),
                "{error}"
            );
        }
    }
}
