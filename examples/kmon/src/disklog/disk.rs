//! The changes that a log makes on the disk, each as one function, so that tests can end the
//! program or fill the disk between any two of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Appends `bytes` to `file`.
pub(super) fn append(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    if let Some(fault) = faults::next() {
        // A write may end anywhere.
        file.write_all(&bytes[..bytes.len() / 2])?;
        return fault.happen();
    }
    file.write_all(bytes)
}

/// Creates `path`, which must not exist, for its user alone. Follows no link.
pub(super) fn create(path: &Path) -> io::Result<File> {
    #[cfg(test)]
    faults::pass()?;
    let mut open = OpenOptions::new();
    open.append(true).create_new(true).mode(0o600).open(path)
}

/// Opens `path` to append to it. Follows no link.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let mut open = OpenOptions::new();
    open.read(true).append(true).custom_flags(flags).open(path)
}

/// Creates the directory `path`, for its user alone.
pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(test)]
    faults::pass()?;
    fs::rename(from, to)
}

/// Removes `path`, if it exists.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    faults::pass()?;
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Cuts `file` after `len` bytes.
pub(super) fn cut(file: &File, len: u64) -> io::Result<()> {
    #[cfg(test)]
    faults::pass()?;
    file.set_len(len)
}

/// Faults that a test requests for its thread.
#[cfg(test)]
pub(super) mod faults {
    use std::cell::Cell;
    use std::io;
    use std::panic;

    /// What happens at the requested change.
    #[derive(Clone, Copy, Debug)]
    pub(in crate::disklog) enum Fault {
        /// The program ends.
        Death,
        /// This change and the following ones find the disk full.
        Full,
    }

    /// The payload of the panic that stands for a death.
    pub(in crate::disklog) struct Killed;

    thread_local! {
        static AFTER: Cell<Option<(u64, Fault)>> = const { Cell::new(None) };
    }

    impl Fault {
        pub(super) fn happen(self) -> io::Result<()> {
            match self {
                Self::Death => {
                    AFTER.set(None);
                    panic::resume_unwind(Box::new(Killed))
                }
                Self::Full => Err(io::ErrorKind::StorageFull.into()),
            }
        }
    }

    /// Requests `fault` after `changes` more changes of this thread.
    pub(in crate::disklog) fn request(changes: u64, fault: Fault) {
        AFTER.set(Some((changes, fault)));
    }

    /// Withdraws the request. Returns true if it has not happened.
    pub(in crate::disklog) fn withdraw() -> bool {
        AFTER.take().is_some_and(|(left, _)| left > 0)
    }

    pub(super) fn next() -> Option<Fault> {
        let (left, fault) = AFTER.get()?;
        AFTER.set(Some((left.saturating_sub(1), fault)));
        (left == 0).then_some(fault)
    }

    pub(super) fn pass() -> io::Result<()> {
        next().map_or(Ok(()), Fault::happen)
    }
}
