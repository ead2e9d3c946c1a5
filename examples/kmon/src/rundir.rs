//! What a KMON leaves for the next one: a directory of its user's.
//!
//! | file         | what it has                                              |
//! |--------------|----------------------------------------------------------|
//! | `lock`       | the number of the KMON that has the directory locked     |
//! | `N.json`     | instance N, and what it consists of ([`Record`])         |
//! | `N.log`      | what instance N printed (`instance::log`)                |
//! | `N.kernel`   | what its kernel said, likewise                           |
//! | `N.qmp`      | a machine's: the socket of QEMU's monitor                |
//! | `N.pid`      | the number of QEMU's process                             |
//! | `N.door`     | the socket of the server of its doorbells                |
//! | `N.door.log` | what that server says                                    |
//!
//! - **R1** One KMON at a time has the lock, and only that one touches the rest.
//!   The kernel takes it back from a KMON that ends, however it ends.
//! - **R2** A record is replaced as a whole: there is the old one or the new one.
//! - **R3** An instance's process does nothing before its record is written, so
//!   none is ever left behind without one. A machine's, which begin before, are
//!   announced in the record, and known by the paths of their files here.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::unistd::geteuid;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::backend::BackendRecord;
use crate::kind::Kind;

/// A KMON that was just killed may need a moment to let go of its lock.
const LETTING_GO: Duration = Duration::from_millis(500);

/// An instance as it was when something about it last changed.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Record {
    pub(crate) number: u8,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Nothing if it is halted.
    #[serde(rename = "body")]
    pub(crate) backend: Option<BackendRecord>,
}

/// The files of a machine, beside its record and its logs.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) qmp: PathBuf,
    pub(crate) pid: PathBuf,
    pub(crate) door: PathBuf,
    pub(crate) door_log: PathBuf,
}

/// The directory, locked.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    _lock: File,
}

/// Bytes that a record has at most, or nearly.
const MAX_RECORD: usize = 8192;

impl RunDir {
    /// Locks `path`, which is made if it is not there; without one, this user's
    /// own place.
    ///
    /// # Errors
    ///
    /// Another KMON has it, it is not this user's alone, or it cannot be made.
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let path = match path {
            // An instance starts in another directory.
            Some(path) => std::path::absolute(path)?,
            None => default_path(),
        };
        let shown = path.display().to_string();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.with_context(|| format!("{shown} cannot be made; --run-dir names another place"))?;
        let lock = require_own(&path).and_then(|()| lock(&path));
        Ok(Self {
            _lock: lock.context(shown)?,
            path,
        })
    }

    /// What is known of the instances of KMONs before, by number. A file that is
    /// no record is none.
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

    /// Writes `record` in the place of the one before (R2).
    pub(crate) fn save(&self, record: &Record) -> anyhow::Result<()> {
        let file = self.record(record.number);
        let fresh = file.with_extension("new");
        let text = serde_json::to_vec(record)?;
        fs::write(&fresh, text)
            .and_then(|()| fs::rename(&fresh, &file))
            .with_context(|| format!("{} cannot be written", file.display()))
    }

    /// Tries to write as much as a record has, and leaves nothing.
    ///
    /// # Errors
    ///
    /// A record cannot be written.
    pub(crate) fn require_room(&self, number: u8) -> anyhow::Result<()> {
        let probe = self.record(number).with_extension("new");
        let written = fs::write(&probe, [b' '; MAX_RECORD]);
        // What was not made cannot be removed.
        let _ = fs::remove_file(&probe);
        written.with_context(|| format!("{} cannot be written", probe.display()))
    }

    /// Forgets instance `number`, its output with it.
    pub(crate) fn forget(&self, number: u8) {
        let (record, log, kernel) = (self.record(number), self.log(number), self.kernel(number));
        // A KMON that was killed may have left one half-made.
        let half = [record.with_extension("new"), log.with_extension("fresh")];
        let Files {
            qmp,
            pid,
            door,
            door_log,
        } = self.files(number);
        let all = [record, log, kernel, qmp, pid, door, door_log];
        for file in all.iter().chain(&half) {
            // What is not there is forgotten.
            let _ = fs::remove_file(file);
        }
    }

    /// Where the output of instance `number` is.
    pub(crate) fn log(&self, number: u8) -> PathBuf {
        self.path.join(format!("{number}.log"))
    }

    /// Where the log of its kernel is.
    pub(crate) fn kernel(&self, number: u8) -> PathBuf {
        self.path.join(format!("{number}.kernel"))
    }

    /// Where a machine's files are.
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

/// `$XDG_RUNTIME_DIR/kmon`; where there is none, `/tmp/kmon-` and the user's number.
fn default_path() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) if !directory.is_empty() => PathBuf::from(directory).join("kmon"),
        _ => format!("/tmp/kmon-{}", geteuid()).into(),
    }
}

/// Whoever else could write there could make us kill or read what is not ours.
fn require_own(path: &Path) -> anyhow::Result<()> {
    // Of the path itself: in `/tmp` anyone could have put a link there.
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() {
        bail!("it is no directory; --run-dir names another place");
    }
    if found.uid() != geteuid().as_raw() {
        bail!("it is another user's; --run-dir names another place");
    }
    if found.mode() & 0o077 != 0 {
        bail!("it is open to other users (chmod 700); --run-dir names another place");
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
    let deadline = Instant::now() + LETTING_GO;
    while let Err(error) = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(io::Error::from(error).into());
        }
        if Instant::now() > deadline {
            let mut pid = String::new();
            // Who has it says so; if not, then it is still another.
            let _ = lock.read_to_string(&mut pid);
            let pid = pid.trim();
            bail!(
                "another KMON (process {pid}) has its instances there; --run-dir names another place"
            );
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
    use std::os::unix::fs::PermissionsExt;

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
    fn records_come_back_in_their_order_and_are_replaced_and_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join("a/run");
        let run = RunDir::open(Some(&place)).unwrap();
        for number in [10, 2] {
            run.save(&record(number, 1)).unwrap();
        }
        run.save(&record(2, 5)).unwrap();
        assert_eq!(run.records(), [record(2, 5), record(10, 1)]);
        fs::write(place.join("3.json"), "{ no record").unwrap();
        fs::write(
            place.join("4.json"),
            fs::read(place.join("2.json")).unwrap(),
        )
        .unwrap();
        run.forget(10);
        assert_eq!(run.records(), [record(2, 5)]);
    }

    #[test]
    fn a_second_kmon_is_told_who_has_the_directory() {
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
    fn a_directory_that_others_can_enter_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let open = home.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let link = home.path().join("link");
        std::os::unix::fs::symlink(home.path(), &link).unwrap();
        for (path, says) in [(&open, "open to other users"), (&link, "no directory")] {
            let error = format!("{:#}", RunDir::open(Some(path)).unwrap_err());
            assert!(
                error.contains(says) && error.contains("--run-dir"),
                "{error}"
            );
        }
    }
}
