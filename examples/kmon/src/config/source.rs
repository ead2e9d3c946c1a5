//! The file's text: where in it an error is, and what its paths are relative to.

use std::fmt::Display;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use nix::unistd::{AccessFlags, access};
use serde::de::DeserializeOwned;
use toml::Spanned;

/// A configuration that was read.
pub(super) struct Source {
    /// As errors call it.
    name: String,
    text: String,
    /// The directory that it is in.
    base: PathBuf,
}

impl Source {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = || format!("{} cannot be read", path.display());
        let text = fs::read_to_string(path).with_context(shown)?;
        // An instance starts in another directory.
        let whole = std::path::absolute(path).with_context(shown)?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            text,
            base: whole.parent().unwrap_or(Path::new("/")).to_owned(),
        })
    }

    #[cfg(test)]
    pub(super) fn of(text: &str, base: &Path) -> Self {
        Self {
            name: "kmon.toml".into(),
            text: text.into(),
            base: base.into(),
        }
    }

    pub(super) fn parse<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        toml::from_str(&self.text).map_err(|error: toml::de::Error| {
            let message = error.message().replace('\n', " ");
            let what = message.replacen(", expected", "; expected", 1);
            match error.span() {
                Some(span) => self.error(span, &what),
                None => self.whole(&what),
            }
        })
    }

    /// One line about what is at `span`.
    pub(super) fn error(&self, span: Range<usize>, what: &str) -> anyhow::Error {
        let before = &self.text[..self.text.floor_char_boundary(span.start)];
        let line = before.matches('\n').count();
        let key = self.text.lines().nth(line);
        let key = key.and_then(|line| line.split_once('='));
        match key {
            Some((key, _)) => anyhow!("{}:{}: key {}: {what}", self.name, line + 1, key.trim()),
            None => anyhow!("{}:{}: {what}", self.name, line + 1),
        }
    }

    /// One line about the file.
    pub(super) fn whole(&self, what: &str) -> anyhow::Error {
        anyhow!("{}: {what}", self.name)
    }

    /// A path, relative to the file.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// The path of a file that can be read.
    pub(super) fn file(&self, path: &Spanned<PathBuf>) -> anyhow::Result<PathBuf> {
        let found = self.path(path.get_ref());
        let refused = |why: &dyn Display| {
            let what = format!("`{}` cannot be read: {why}", found.display());
            self.error(path.span(), &what)
        };
        match File::open(&found).and_then(|file| file.metadata()) {
            Ok(about) if about.is_dir() => Err(refused(&"it is a directory")),
            Ok(_) => Ok(found),
            Err(error) => Err(refused(&error)),
        }
    }

    /// The path of a program.
    pub(super) fn program(&self, path: &Spanned<PathBuf>) -> anyhow::Result<PathBuf> {
        let found = self.path(path.get_ref());
        if found.is_file() && access(&found, AccessFlags::X_OK).is_ok() {
            return Ok(found);
        }
        let what = format!(
            "`{}` is no program that can be run; expected its path",
            path.get_ref().display()
        );
        Err(self.error(path.span(), &what))
    }
}
