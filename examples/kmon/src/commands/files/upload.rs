//! `kmput`: copies local files to an instance.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use kmon_protocol::file::SourceFile;
use kmon_protocol::transfer::{Failure, FileKind};

use super::copying::{CHUNK, Copying, Progress, WholeFile, run, shown};
use super::names;
use crate::commands::arguments::PutArgs;
use crate::commands::session::Session;
use crate::instance::transfer::TransferError;

/// What an owner must be able to do with a directory while its content is copied.
const OWNER_ALL: u32 = 0o700;

pub(crate) fn put(session: &Session, args: &PutArgs) -> anyhow::Result<()> {
    let Some((remote, locals)) = args.paths.split_last() else {
        bail!("name the files, and then where they go");
    };
    let remote = remote.as_bytes();
    run(session, &args.options, |copying, _| {
        let into = copying.goes_into(remote, locals.len())?;
        for local in locals {
            let to = names::target(local.as_bytes(), remote, into);
            copying.put_path(Path::new(local), &to)?;
        }
        Ok(())
    })
}

impl Copying<'_> {
    /// Returns true if the copies go into the directory `remote`.
    fn goes_into(&mut self, remote: &[u8], count: usize) -> anyhow::Result<bool> {
        let is_directory = match self.remote.status(remote) {
            Ok(status) => status.kind == FileKind::Directory,
            Err(error) if error.failure == Failure::NotFound && !remote.ends_with(b"/") => false,
            Err(error) => return Err(error.into()),
        };
        if count > 1 && !is_directory {
            let remote = String::from_utf8_lossy(remote);
            bail!("several files can only be copied into a directory; {remote} is not a directory");
        }
        Ok(is_directory)
    }

    fn put_path(&mut self, local: &Path, remote: &[u8]) -> anyhow::Result<()> {
        let metadata = fs::metadata(local).with_context(|| shown(local))?;
        if !metadata.is_dir() {
            return self.put_file(local, remote);
        }
        self.require_recursive(&shown(local))?;
        self.put_directory(local, remote, metadata.permissions().mode() & 0o7777)
    }

    fn put_directory(&mut self, local: &Path, remote: &[u8], mode: u32) -> anyhow::Result<()> {
        let is_new = match self.remote.status(remote) {
            Ok(_) => false,
            Err(error) if error.failure == Failure::NotFound => true,
            Err(error) => return Err(error.into()),
        };
        // One that is no directory is refused.
        self.remote.make_directory(remote, mode | OWNER_ALL)?;
        self.summary.directories += u64::from(is_new);
        let entries = fs::read_dir(local).with_context(|| shown(local))?;
        let mut entries = entries
            .collect::<Result<Vec<_>, _>>()
            .with_context(|| shown(local))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, kind) = (
                entry.path(),
                entry.file_type().with_context(|| shown(local))?,
            );
            let to = names::join(remote, entry.file_name().as_bytes());
            if kind.is_file() || kind.is_dir() {
                self.put_path(&path, &to)?;
            } else {
                self.skip(shown(&path));
            }
        }
        if is_new && mode & OWNER_ALL != OWNER_ALL {
            self.remote.set_mode(remote, mode)?;
        }
        Ok(())
    }

    fn put_file(&mut self, local: &Path, remote: &[u8]) -> anyhow::Result<()> {
        let mut source = SourceFile::open(local)?;
        let status = source.status().clone();
        let progress = Progress::new(self.options, &shown(local), status.size);
        let (stop, instance) = (self.stop, &mut self.remote);
        let copy = || {
            let (mut put, (offset, digest)) = instance.put(remote, &status)?;
            let offset = source.begin(offset, &digest, || !stop())?;
            put.start(offset)?;
            progress.begin(offset);
            let mut chunk = vec![0; CHUNK];
            loop {
                match source.read(&mut chunk)? {
                    0 => break,
                    len => {
                        put.write(&chunk[..len])?;
                        progress.advance(len);
                    }
                }
            }
            let digest = source.finish()?;
            put.finish(digest)?;
            Ok((offset, digest))
        };
        let (resumed_at, digest) = copy().map_err(|error: TransferError| progress.failed(error))?;
        let copied = WholeFile {
            size: status.size,
            resumed_at,
            mode: status.mode,
            digest,
        };
        self.note_file(&shown(local), &String::from_utf8_lossy(remote), &copied);
        Ok(())
    }
}
