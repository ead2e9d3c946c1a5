//! The files of one log.
//!
//! | file              | content                                                       |
//! |-------------------|---------------------------------------------------------------|
//! | `STEM`            | the newest lines                                              |
//! | `STEM.NNNNNN`     | file number N of the log, which is complete                   |
//! | `STEM.NNNNNN.gz`  | the same, compressed                                          |
//! | `STEM.NNNNNN.gz.part` | a compression that has not ended                          |
//!
//! `STEM` is `N.log` for the output of instance N, `N.kernel.log` for its kernel's log, and
//! `kmon.log` for KMON's notices. File numbers grow, so `STEM.*` in the order of their names, then
//! `STEM`, are the log.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The names of a log's files.
#[derive(Clone, Debug)]
pub(super) struct Files {
    directory: PathBuf,
    stem: String,
}

/// A complete file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Complete {
    pub(super) number: u64,
    pub(super) compressed: bool,
}

impl Files {
    pub(super) fn new(directory: &Path, stem: &str) -> Self {
        Self {
            directory: directory.to_owned(),
            stem: stem.to_owned(),
        }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the file that lines are appended to.
    pub(super) fn current(&self) -> PathBuf {
        self.directory.join(&self.stem)
    }

    pub(super) fn path(&self, file: Complete) -> PathBuf {
        let end = if file.compressed { ".gz" } else { "" };
        let Self { directory, stem } = self;
        directory.join(format!("{stem}.{:06}{end}", file.number))
    }

    /// Returns the file into which `number` is compressed.
    pub(super) fn part(&self, number: u64) -> PathBuf {
        let Self { directory, stem } = self;
        directory.join(format!("{stem}.{number:06}.gz.part"))
    }

    /// Returns the complete files, the oldest first. Of a file that exists twice, because a
    /// compression has just ended or was interrupted, both are returned.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(super) fn complete(&self) -> io::Result<Vec<Complete>> {
        let mut found = self.numbered(|end| match end {
            "" => Some(false),
            ".gz" => Some(true),
            _ => None,
        })?;
        found.sort_unstable();
        Ok(found)
    }

    /// Returns the files of compressions that have not ended.
    pub(super) fn parts(&self) -> io::Result<Vec<PathBuf>> {
        let found = self.numbered(|end| (end == ".gz.part").then_some(true))?;
        Ok(found.iter().map(|file| self.part(file.number)).collect())
    }

    fn numbered(&self, is_compressed: impl Fn(&str) -> Option<bool>) -> io::Result<Vec<Complete>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let rest = name.to_str().and_then(|name| name.strip_prefix(&self.stem));
            let Some(rest) = rest.and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (digits, end) = rest.split_at(digits);
            // Only names that KMON gives: others are not its files.
            let number = digits.parse().ok().filter(|_| digits.len() >= 6);
            if let (Some(number), Some(compressed)) = (number, is_compressed(end)) {
                found.push(Complete { number, compressed });
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_log_are_found_in_the_order_of_their_numbers() {
        let home = tempfile::tempdir().unwrap();
        for name in [
            "2.log",
            "2.log.000010",
            "2.log.000009.gz",
            "2.log.1000000",
            "2.log.000011.gz.part",
            "2.log.old",
            "2.log.7",
            "2.kernel.log.000001",
            "12.log.000001",
        ] {
            fs::write(home.path().join(name), "").unwrap();
        }
        let files = Files::new(home.path(), "2.log");
        let found = files.complete().unwrap();
        let numbers: Vec<_> = found.iter().map(|file| file.number).collect();
        assert_eq!(numbers, [9, 10, 1_000_000]);
        assert!(files.path(found[0]).ends_with("2.log.000009.gz"));
        assert_eq!(files.parts().unwrap(), [files.part(11)]);
    }
}
