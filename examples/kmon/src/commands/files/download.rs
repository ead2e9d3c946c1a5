//! `kmget`: copies files of an instance to this machine.
//!
//! An instance may be hostile. The names in its lists are single components, so that nothing is
//! written outside the directory that the operator names. Inside of it no link is followed, and no
//! file gets more permissions than reading, writing and execution.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, bail};
use kmon_protocol::file::Partial;
use kmon_protocol::transfer::FileKind;
use nix::sys::signal::{SigSet, Signal};

use super::copying::{Copying, Progress, WholeFile, run, shown};
use super::names;
use crate::commands::arguments::GetArgs;
use crate::commands::session::Session;
use crate::instance::transfer::TransferError;

/// The permissions that are kept.
const PERMISSIONS: u32 = 0o777;
/// What an owner must be able to do with a directory while its content is copied.
const OWNER_ALL: u32 = 0o700;

pub(crate) fn get(session: &Session, args: &GetArgs) -> anyhow::Result<()> {
    let Some((local, remotes)) = args.paths.split_last() else {
        bail!("name the files, and then where they go");
    };
    refuse_size_signal();
    run(session, &args.options, |copying, target| {
        let local = &match &target.label {
            None => local.clone(),
            Some(label) => own_directory(local, label)?,
        };
        let into = fs::metadata(local).is_ok_and(|found| found.is_dir());
        if !into && (remotes.len() > 1 || local.ends_with('/')) {
            bail!("{local} is not a directory");
        }
        for remote in remotes {
            let to = names::target(remote.as_bytes(), local.as_bytes(), into);
            copying.get_path(remote.as_bytes(), &names::path(&to))?;
        }
        Ok(())
    })
}

/// Makes the directory for what is copied from one of several instances: `label` in `local`.
fn own_directory(local: &str, label: &str) -> anyhow::Result<String> {
    if !fs::metadata(local).is_ok_and(|found| found.is_dir()) {
        bail!(
            "files of several instances can only be copied into a directory; {local} is not a directory"
        );
    }
    let own = Path::new(local).join(label);
    make_directory(&own).with_context(|| shown(&own))?;
    Ok(own.display().to_string())
}

/// A file that reaches this process's limit is an error of the command, not KMON's end.
fn refuse_size_signal() {
    let mut set = SigSet::empty();
    set.add(Signal::SIGXFSZ);
    // If this fails, only that limit is not survived.
    let _ = set.thread_block();
}

impl Copying<'_> {
    fn get_path(&mut self, remote: &[u8], local: &Path) -> anyhow::Result<()> {
        let status = self.remote.status(remote)?;
        if status.kind != FileKind::Directory {
            return self.get_file(remote, local);
        }
        self.require_recursive(&String::from_utf8_lossy(remote))?;
        self.get_directory(remote, local, status.mode & PERMISSIONS)
    }

    fn get_directory(&mut self, remote: &[u8], local: &Path, mode: u32) -> anyhow::Result<()> {
        let is_new = make_directory(local).with_context(|| shown(local))?;
        self.summary.directories += u64::from(is_new);
        for entry in self.remote.list(remote)? {
            let from = names::join(remote, &entry.name);
            let to = local.join(names::path(&entry.name));
            match entry.kind {
                FileKind::File | FileKind::Directory if to.is_symlink() => {
                    bail!(
                        "{} is a symbolic link on this machine: remove it",
                        shown(&to)
                    );
                }
                FileKind::File => self.get_file(&from, &to)?,
                FileKind::Directory => self.get_path(&from, &to)?,
                FileKind::Link | FileKind::Other => {
                    self.skip(String::from_utf8_lossy(&from).into_owned());
                }
            }
        }
        if is_new {
            let set = fs::set_permissions(local, Permissions::from_mode(mode));
            set.with_context(|| shown(local))?;
        }
        Ok(())
    }

    fn get_file(&mut self, remote: &[u8], local: &Path) -> anyhow::Result<()> {
        let name = String::from_utf8_lossy(remote).into_owned();
        let stop = self.stop;
        let (mut get, status) = self.remote.get(remote)?;
        let progress = Progress::new(self.options, &name, status.size);
        let mode = status.mode & PERMISSIONS;
        let copy = || {
            let mut partial = Partial::open(local, status.size, &status.source)?;
            let (offset, digest) = partial.held(|| !stop())?;
            let offset = get.start(offset, digest)?;
            partial.begin(offset)?;
            progress.begin(offset);
            while let Some(chunk) = get.read()? {
                partial.write(&chunk)?;
                progress.advance(chunk.len());
            }
            let digest = get.finish()?;
            partial.commit(&digest, mode)?;
            Ok((offset, digest))
        };
        let copied = copy().map_err(|error: TransferError| progress.failed(error));
        let (resumed_at, digest) = copied?;
        let copied = WholeFile {
            size: status.size,
            resumed_at,
            mode,
            digest,
        };
        self.note_file(&name, &shown(local), &copied);
        Ok(())
    }
}

/// Makes the directory `path`. Returns false if it exists.
fn make_directory(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(OWNER_ALL).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        Err(error) => Err(error),
    }
}
