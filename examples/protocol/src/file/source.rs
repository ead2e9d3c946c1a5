//! Reads a file that is copied, and notices when it changes meanwhile.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use super::error::FileError;
use crate::transfer::{Digest, Failure, FileKind, FileStatus};

/// Bytes that are read at once while the beginning of a file is checked.
const CHUNK: usize = 256 << 10;
/// The most bytes of a file whose size shows as 0, as those of `/proc`.
const MAX_UNSIZED: u64 = 4 << 20;

/// Returns the digest of `bytes`.
pub fn digest_of(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// Returns the status of a file with this metadata.
pub fn file_status(metadata: &Metadata) -> FileStatus {
    let mut hasher = Sha256::new();
    for number in [metadata.dev(), metadata.ino(), metadata.size()] {
        hasher.update(number.to_le_bytes());
    }
    for number in [metadata.mtime(), metadata.mtime_nsec()] {
        hasher.update(number.to_le_bytes());
    }
    FileStatus {
        kind: match metadata.file_type() {
            kind if kind.is_file() => FileKind::File,
            kind if kind.is_dir() => FileKind::Directory,
            kind if kind.is_symlink() => FileKind::Link,
            _ => FileKind::Other,
        },
        mode: metadata.mode() & 0o7777,
        size: metadata.size(),
        source: hasher.finalize().into(),
    }
}

/// A file that is copied.
pub struct SourceFile {
    path: PathBuf,
    file: File,
    /// The content of a file whose size shows as 0.
    unsized_content: Option<Cursor<Vec<u8>>>,
    status: FileStatus,
    position: u64,
    hasher: Sha256,
}

impl SourceFile {
    /// Opens the regular file `path`.
    ///
    /// # Errors
    /// [`FileError`] if it cannot be read, or is not a regular file.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let failed = |error| FileError::from_io(path, &error);
        // Opening a pipe must not wait for a writer.
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(flags).open(path);
        let mut file = file.map_err(failed)?;
        let mut status = file_status(&file.metadata().map_err(failed)?);
        match status.kind {
            FileKind::File => {}
            FileKind::Directory => {
                return Err(FileError::new(Failure::IsDirectory, path, "Is a directory"));
            }
            _ => return Err(FileError::new(Failure::Other, path, "not a regular file")),
        }
        let mut unsized_content = None;
        if status.size == 0 {
            let mut content = Vec::new();
            let mut limited = (&mut file).take(MAX_UNSIZED);
            limited.read_to_end(&mut content).map_err(failed)?;
            status.size = content.len() as u64;
            unsized_content = (!content.is_empty()).then(|| Cursor::new(content));
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            unsized_content,
            status,
            position: 0,
            hasher: Sha256::new(),
        })
    }

    /// Returns the status that the file had when it was opened.
    pub fn status(&self) -> &FileStatus {
        &self.status
    }

    /// Begins at `offset` if the bytes before it have this digest, else at 0. Returns where.
    /// `keep_on` is asked repeatedly.
    ///
    /// # Errors
    /// [`FileError`] if it cannot be read, or if `keep_on` returns false.
    pub fn begin(
        &mut self,
        offset: u64,
        digest: &Digest,
        mut keep_on: impl FnMut() -> bool,
    ) -> Result<u64, FileError> {
        let mut chunk = vec![0; CHUNK];
        while self.position < offset.min(self.status.size) {
            if !keep_on() {
                return Err(FileError::cancelled());
            }
            let len = (offset - self.position).min(CHUNK as u64) as usize;
            self.read(&mut chunk[..len])?;
        }
        let found: Digest = self.hasher.clone().finalize().into();
        if self.position != offset || found != *digest {
            self.rewind()?;
        }
        Ok(self.position)
    }

    fn rewind(&mut self) -> Result<(), FileError> {
        let start = SeekFrom::Start(0);
        let sought = match &mut self.unsized_content {
            Some(content) => content.seek(start),
            None => self.file.seek(start),
        };
        sought.map_err(|error| FileError::from_io(&self.path, &error))?;
        self.position = 0;
        self.hasher = Sha256::new();
        Ok(())
    }

    /// Reads the next bytes; 0 at the end.
    ///
    /// # Errors
    /// [`FileError`] if it cannot be read, or has become shorter.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FileError> {
        let left = self.status.size - self.position;
        let len = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..len];
        let read = loop {
            let read = match &mut self.unsized_content {
                Some(content) => content.read(buffer),
                None => self.file.read(buffer),
            };
            match read {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read.map_err(|error| FileError::from_io(&self.path, &error))?,
            }
        };
        if read == 0 && left > 0 && len > 0 {
            return Err(self.changed());
        }
        self.hasher.update(&buffer[..read]);
        self.position += read as u64;
        Ok(read)
    }

    /// Returns the digest of the whole file.
    ///
    /// # Errors
    /// [`FileError`] if the file has changed since it was opened, or was not read to its end.
    pub fn finish(self) -> Result<Digest, FileError> {
        let metadata = self.file.metadata();
        let now = metadata.map_err(|error| FileError::from_io(&self.path, &error))?;
        let is_same =
            self.unsized_content.is_some() || file_status(&now).source == self.status.source;
        if !is_same || self.position != self.status.size {
            return Err(self.changed());
        }
        Ok(self.hasher.finalize().into())
    }

    fn changed(&self) -> FileError {
        let what = "it changed while it was read";
        FileError::new(Failure::Changed, &self.path, what)
    }
}
