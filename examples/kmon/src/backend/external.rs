//! Memory to which a system attaches that KMON did not start, as a backend.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use kmon_protocol::link::RELEASE_TIME;
use shmem_core::region::MemorySource;
use shmem_core::{Mapping, Region};

use super::common::{Backend, Condition, End, EndSignals};
use crate::kind::External;

/// Time between two checks of the memory's file.
const CHECK: Duration = Duration::from_secs(1);

/// This backend consists of the memory alone.
struct Attached {
    since: Instant,
    released: AtomicBool,
    file: Option<NamedFile>,
}

/// A file, and its identity when it was mapped.
struct NamedFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
    /// The time of the last check; `None` after a check has found another file.
    checked: Mutex<Option<Instant>>,
}

impl NamedFile {
    fn new(place: &MemorySource) -> Option<Self> {
        let path = match place {
            MemorySource::File(path) | MemorySource::FilePart { path, .. } => path.clone(),
            MemorySource::Shm(name) => Path::new("/dev/shm").join(name.trim_start_matches('/')),
            _ => return None,
        };
        Some(Self {
            device_and_inode: device_and_inode(&path)?,
            path,
            checked: Mutex::new(Some(Instant::now())),
        })
    }

    /// Reports once that the file was replaced or removed.
    fn check(&self) -> Option<String> {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.is_none_or(|at| at.elapsed() < CHECK) {
            return None;
        }
        let what = match device_and_inode(&self.path) {
            Some(found) if found == self.device_and_inode => {
                *checked = Some(Instant::now());
                return None;
            }
            Some(_) => "was replaced",
            None => "was removed",
        };
        *checked = None;
        let path = self.path.display();
        Some(format!(
            "its region's file {path} {what}; the old file is in use until kmreset"
        ))
    }
}

fn device_and_inode(path: &Path) -> Option<(u64, u64)> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

pub(super) fn backend(external: &External) -> Arc<dyn Backend> {
    Arc::new(Attached {
        since: Instant::now(),
        released: AtomicBool::new(false),
        file: NamedFile::new(&external.region),
    })
}

/// Opens the memory, after the users of an earlier region in it have released it
/// (`kmon_protocol::link`, A4).
pub(super) fn prepare(external: &External) -> anyhow::Result<Mapping> {
    let memory = external.region.open()?;
    let window = memory.window();
    if Region::attach(window).is_ok() {
        // The first word of a region is its magic number.
        window.write(0, &[0; 4]);
        std::thread::sleep(RELEASE_TIME);
    }
    Ok(memory)
}

pub(super) fn find(external: &External) -> anyhow::Result<(Arc<dyn Backend>, Mapping)> {
    Ok((backend(external), external.region.open()?))
}

impl Backend for Attached {
    fn condition(&self, signals: EndSignals) -> Condition {
        if (signals.asked && signals.goodbye) || self.released.load(Ordering::Relaxed) {
            return Condition::Ended(End {
                is_clean: true,
                how: "KMON has released it".into(),
            });
        }
        Condition::Alive
    }

    fn kill(&self) {
        self.released.store(true, Ordering::Relaxed);
    }

    fn maintain(&self) -> Option<String> {
        self.file.as_ref()?.check()
    }

    fn pid(&self) -> Option<i32> {
        None
    }

    fn age(&self) -> Duration {
        self.since.elapsed()
    }

    fn pause(&self) -> anyhow::Result<()> {
        bail!("KMON did not start it, and cannot stop it")
    }

    fn resume(&self) -> anyhow::Result<()> {
        bail!("KMON did not start it, and does not pause it")
    }
}
