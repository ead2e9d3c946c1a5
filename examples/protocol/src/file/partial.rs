//! Writes a file under a temporary name until it is whole.
//!
//! - **W1** The target's name refers to the old file, or to the whole new one: its content has the
//!   expected digest and is on the disk before the name changes.
//! - **W2** One copy at a time writes a temporary file: it has the file's lock.
//! - **W3** A target that has the right bytes already is not written. It only gets its mode.
//! - **W4** A temporary file is used only if no other user can have made it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock, fstatvfs};
use rustix::process::geteuid;
use sha2::{Digest as _, Sha256};

use super::error::FileError;
use super::naming::Place;
use super::source::file_status;
use crate::transfer::{Digest, Failure, FileKind, FileStatus};

/// Bytes that are read at once while the beginning of a file is checked.
const CHUNK: usize = 256 << 10;
/// What is shorter than this is not kept for a later copy.
const MIN_KEPT: u64 = 1 << 20;

/// A file that is not whole yet. Its destructor keeps it for a later copy, if that is worthwhile.
pub struct Partial {
    place: Place,
    file: File,
    size: u64,
    /// Bytes that are known to be in the file.
    position: u64,
    hasher: Sha256,
    is_kept: bool,
    /// The target's status, if the target itself has the bytes that were found.
    reused: Option<FileStatus>,
}

impl Partial {
    /// Opens the temporary file for `target`, which will have `size` bytes of the version `source`.
    ///
    /// # Errors
    /// [`FileError`] if the directory is missing or not writable, or has no room; if the target is
    /// not a regular file; or if another copy writes it.
    pub fn open(target: &Path, size: u64, source: &Digest) -> Result<Self, FileError> {
        let place = Place::new(target, size, source)?;
        let file = open_locked(&place)?;
        let metadata = file.metadata();
        let len = metadata
            .map_err(|e| FileError::from_io(&place.target, &e))?
            .len();
        let partial = Self {
            place,
            file,
            size,
            position: 0,
            hasher: Sha256::new(),
            is_kept: len >= MIN_KEPT,
            reused: None,
        };
        partial.require_room(size.saturating_sub(len))?;
        Ok(partial)
    }

    fn failed(&self, error: &io::Error) -> FileError {
        FileError::from_io(&self.place.target, error)
    }

    /// Returns an error if the file system has no room for `len` bytes.
    fn require_room(&self, len: u64) -> Result<(), FileError> {
        let Ok(system) = fstatvfs(&self.file) else {
            return Ok(());
        };
        let blocks = match geteuid().is_root() {
            true => system.f_bfree,
            false => system.f_bavail,
        };
        let free = blocks.saturating_mul(system.f_frsize);
        if system.f_blocks == 0 || len <= free {
            return Ok(());
        }
        let what = format!("No space left on device: {len} bytes are needed, {free} are free");
        Err(FileError::new(Failure::NoSpace, &self.place.target, what))
    }

    /// Returns how many bytes an earlier copy left, and their digest. If it left none, these are
    /// the bytes of a target that has the size of the whole file. `keep_on` is asked repeatedly.
    ///
    /// # Errors
    /// [`FileError`] if they cannot be read, or if `keep_on` returns false.
    pub fn held(&mut self, mut keep_on: impl FnMut() -> bool) -> Result<(u64, Digest), FileError> {
        let metadata = self.file.metadata().map_err(|e| self.failed(&e))?;
        if (1..=self.size).contains(&metadata.len()) {
            let file = &mut self.file;
            let read = hash_up_to(file, self.size, &mut self.hasher, &mut keep_on);
            self.position = read.map_err(|e| self.failed(&e))?;
        } else if let Some((mut file, status)) = self.whole_target() {
            let read = hash_up_to(&mut file, self.size, &mut self.hasher, &mut keep_on);
            self.position = read.map_err(|e| self.failed(&e))?;
            self.reused = Some(status);
        }
        if !keep_on() {
            return Err(FileError::cancelled());
        }
        Ok((self.position, self.hasher.clone().finalize().into()))
    }

    /// Opens the target, if it has the size of the whole file and can be read.
    fn whole_target(&self) -> Option<(File, FileStatus)> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(no_follow());
        let file = options.open(&self.place.target).ok()?;
        let status = file_status(&file.metadata().ok()?);
        let is_whole = status.kind == FileKind::File && status.size == self.size && self.size > 0;
        is_whole.then_some((file, status))
    }

    /// Begins at `offset`: that of [`Partial::held`], or 0.
    ///
    /// # Errors
    /// [`FileError`] if it is neither, or if the file cannot be cut.
    pub fn begin(&mut self, offset: u64) -> Result<(), FileError> {
        if offset != self.position {
            if offset != 0 {
                let what = format!("no copy can begin at byte {offset}");
                return Err(FileError::new(Failure::Protocol, &self.place.target, what));
            }
            self.position = 0;
            self.hasher = Sha256::new();
            self.reused = None;
        }
        if self.reused.is_some() {
            return Ok(());
        }
        self.file.set_len(offset).map_err(|e| self.failed(&e))?;
        let sought = self.file.seek(SeekFrom::Start(offset));
        sought.map_err(|e| self.failed(&e))?;
        if self.size >= MIN_KEPT {
            self.place
                .of_other_versions()
                .iter()
                .for_each(|other| remove_unlocked(other));
        }
        Ok(())
    }

    /// Returns the number of bytes in the file.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`FileError`] if the disk is full, or if the file would have more bytes than announced.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        if bytes.len() as u64 > self.size - self.position {
            let what = format!("more than the {} bytes that were announced", self.size);
            return Err(FileError::new(Failure::Protocol, &self.place.target, what));
        }
        self.file.write_all(bytes).map_err(|e| self.failed(&e))?;
        self.hasher.update(bytes);
        self.position += bytes.len() as u64;
        self.is_kept = self.position >= MIN_KEPT;
        Ok(())
    }

    /// Gives the whole file its mode and the target's name (W1).
    ///
    /// # Errors
    /// [`FileError`] if bytes are missing or do not have this digest, or if the file cannot get its
    /// mode or name. A file with another digest is removed.
    pub fn commit(mut self, digest: &Digest, mode: u32) -> Result<(), FileError> {
        let target = &self.place.target;
        if self.position != self.size {
            let what = format!("{} of {} bytes arrived", self.position, self.size);
            return Err(FileError::new(Failure::Protocol, target, what));
        }
        let found: Digest = self.hasher.clone().finalize().into();
        if found != *digest {
            self.is_kept = false;
            let what = "what arrived has another digest than what was sent; copy it again";
            return Err(FileError::new(Failure::Mismatch, target, what));
        }
        let temporary = self.place.temporary();
        let permissions = Permissions::from_mode(mode & 0o7777);
        if let Some(status) = &self.reused {
            self.is_kept = false;
            return self.keep_target(status, permissions);
        }
        let named = (self.file.set_permissions(permissions))
            .and_then(|()| self.file.sync_all())
            .and_then(|()| fs::rename(&temporary, target));
        named.map_err(|error| self.failed(&error))?;
        self.is_kept = true; // There is no temporary file any more.
        // Some file systems cannot store a directory separately.
        let _ = File::open(&self.place.directory).and_then(|directory| directory.sync_all());
        Ok(())
    }

    /// Gives the target, which has the right bytes already, its mode.
    fn keep_target(&self, status: &FileStatus, permissions: Permissions) -> Result<(), FileError> {
        let target = &self.place.target;
        let now = fs::symlink_metadata(target).map_err(|error| self.failed(&error))?;
        let now = file_status(&now);
        if now.source != status.source {
            let what = "it changed while it was compared; copy it again";
            return Err(FileError::new(Failure::Changed, target, what));
        }
        if now.mode == permissions.mode() & 0o7777 {
            return Ok(());
        }
        fs::set_permissions(target, permissions).map_err(|error| self.failed(&error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_kept {
            // Its lock is still held (W2). What cannot be removed is checked by the next copy.
            let _ = fs::remove_file(self.place.temporary());
        }
    }
}

/// Reads `file` to its end, at most `max` bytes, or until `keep_on` returns false. Returns the
/// number of bytes.
fn hash_up_to(
    file: &mut File,
    max: u64,
    hasher: &mut Sha256,
    keep_on: &mut impl FnMut() -> bool,
) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK];
    let (mut limited, mut read) = (file.take(max), 0);
    while keep_on() {
        match limited.read(&mut chunk) {
            Ok(0) => break,
            Ok(len) => {
                hasher.update(&chunk[..len]);
                read += len as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Returns the flags for opening a file that may be something else: a link is not followed, and a
/// pipe does not wait.
fn no_follow() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

/// Opens and locks the temporary file (W2, W4).
fn open_locked(place: &Place) -> Result<File, FileError> {
    let (path, target) = (place.temporary(), &place.target);
    let failed = |error| FileError::from_io(target, &error);
    let busy = || FileError::new(Failure::Busy, target, "another copy writes this file");
    // The one that had the lock may have renamed or removed the file meanwhile.
    for _ in 0..8 {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        options.custom_flags(no_follow());
        let file = options.open(&path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let is_own = metadata.is_file() && metadata.uid() == geteuid().as_raw();
        if !is_own || metadata.nlink() > 1 {
            let what = format!(
                "its temporary file {} belongs to another user",
                path.display()
            );
            return Err(FileError::new(Failure::Permission, target, what));
        }
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(busy());
        }
        let named = fs::symlink_metadata(&path);
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (metadata.dev(), metadata.ino())) {
            return Ok(file);
        }
    }
    Err(busy())
}

/// Removes a temporary file that no copy writes.
fn remove_unlocked(path: &Path) {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(no_follow());
    let Ok(file) = options.open(path) else { return };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        // If it cannot be removed, it stays.
        let _ = fs::remove_file(path);
    }
}
