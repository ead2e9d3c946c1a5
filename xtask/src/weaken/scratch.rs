//! A copy of the workspace that may be damaged.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use walkdir::{DirEntry, WalkDir};

use crate::invocation::Invocation;

pub(super) struct Scratch {
    pub(super) root: PathBuf,
    /// The `PATH` of commands in it, if that is not the caller's.
    pub(super) path: Option<String>,
}

impl Scratch {
    /// Makes `root` equal to the sources of `workspace`. Leaves equal files unchanged, so that
    /// cargo does not build them again.
    pub(super) fn sync(workspace: &Path, target: &Path, root: PathBuf) -> Result<Self> {
        let mut kept = BTreeSet::new();
        for path in files(workspace, target)? {
            let to = root.join(&path);
            let new = fs::read(workspace.join(&path))
                .with_context(|| format!("cannot read {}", path.display()))?;
            if fs::read(&to).ok().as_ref() != Some(&new) {
                write(&to, &new)?;
            }
            kept.insert(path);
        }
        if root.is_dir() {
            for path in files(&root, target)?
                .iter()
                .filter(|path| !kept.contains(*path))
            {
                fs::remove_file(root.join(path))
                    .with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(Self { root, path: None })
    }

    /// Creates a command that runs in the copy.
    pub(super) fn command(&self, invocation: &Invocation) -> Command {
        let mut command = invocation.command();
        command.current_dir(&self.root);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command
    }

    /// Replaces one file while `use_it` runs.
    pub(super) fn with_file<T>(
        &self,
        path: &Path,
        text: &str,
        use_it: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let path = self.root.join(path);
        let original =
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        write(&path, text.as_bytes())?;
        let result = use_it();
        write(&path, &original)?;
        result
    }
}

fn write(path: &Path, text: &[u8]) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Returns the files of a workspace, relative to it, without build output, fuzzing corpora and
/// hidden directories.
fn files(root: &Path, target: &Path) -> Result<Vec<PathBuf>> {
    let wanted = |entry: &DirEntry| {
        let name = entry.file_name().to_string_lossy();
        let skipped = name.starts_with('.') || matches!(&*name, "target" | "corpus" | "artifacts");
        entry.depth() == 0 || !(skipped || entry.path() == target)
    };
    let mut files = Vec::new();
    for entry in WalkDir::new(root).into_iter().filter_entry(wanted) {
        let entry = entry.context("cannot list the workspace")?;
        if entry.file_type().is_file() {
            let path = entry.path();
            files.push(path.strip_prefix(root).unwrap_or(path).to_owned());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_follows_its_original_and_drops_damage() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (
            directory.path().join("a"),
            directory.path().join("target/b"),
        );
        let target = directory.path().join("target");
        for (path, text) in [("x/src/lib.rs", "one"), ("y.rs", "two"), ("target/z", "")] {
            write(&from.join(path), text.as_bytes()).unwrap();
        }
        Scratch::sync(&from, &target, to.clone()).unwrap();
        assert!(!to.join("target/z").exists());
        write(&to.join("x/src/lib.rs"), b"damage").unwrap();
        fs::remove_file(from.join("y.rs")).unwrap();

        let scratch = Scratch::sync(&from, &target, to.clone()).unwrap();
        assert_eq!(fs::read(to.join("x/src/lib.rs")).unwrap(), b"one");
        assert!(!to.join("y.rs").exists());

        let path = Path::new("x/src/lib.rs");
        let seen = scratch.with_file(path, "weak", || Ok(fs::read(to.join(path))?));
        assert_eq!(seen.unwrap(), b"weak");
        assert_eq!(fs::read(to.join(path)).unwrap(), b"one");
    }
}
