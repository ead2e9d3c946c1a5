//! The text of the file: locates errors, and resolves relative paths.

use std::fmt::Display;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use nix::unistd::{AccessFlags, access};
use serde::de::DeserializeOwned;
use toml::Spanned;

/// The text of a configuration file.
pub(super) struct Source {
    /// The file's name in errors.
    name: String,
    text: String,
    /// The directory of the file.
    base: PathBuf,
}

impl Source {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = || format!("{} cannot be read", path.display());
        let text = fs::read_to_string(path).with_context(shown)?;
        // An instance starts in another directory, so paths become absolute.
        let whole = std::path::absolute(path).with_context(shown)?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            text,
            base: whole.parent().unwrap_or(Path::new("/")).to_owned(),
        })
    }

    #[cfg(test)]
    pub(super) fn from_text(text: &str, base: &Path) -> Self {
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
                None => self.error_in_file(&what),
            }
        })
    }

    /// Returns an error of one line about the key at `span`.
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

    /// Returns an error of one line about the file.
    pub(super) fn error_in_file(&self, what: &str) -> anyhow::Error {
        anyhow!("{}: {what}", self.name)
    }

    /// Resolves a path relative to the file.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// Returns the path of a file, if it can be read.
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

    /// Returns the path of a program, if it can be run.
    pub(super) fn program(&self, path: &Spanned<PathBuf>) -> anyhow::Result<PathBuf> {
        let found = self.path(path.get_ref());
        if found.is_file() && access(&found, AccessFlags::X_OK).is_ok() {
            return Ok(found);
        }
        let what = format!(
            "`{}` is not an executable file; expected the path of a program",
            path.get_ref().display()
        );
        Err(self.error(path.span(), &what))
    }
}
