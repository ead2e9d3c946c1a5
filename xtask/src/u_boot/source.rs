//! Debian's source of U-Boot, fetched and unpacked once.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::apt;
use crate::invocation::Invocation;
use crate::job::Reporter;

const PACKAGE: &str = "u-boot";

/// Returns the unpacked source below `home`; fetches it if necessary.
///
/// apt verifies the files that it fetches, and those from an earlier run, against the archive's
/// signed lists.
pub(super) fn unpacked(home: &Path, may_install: bool, reporter: &Reporter) -> Result<PathBuf> {
    let source = home.join("source");
    if source.exists() {
        return Ok(source);
    }
    apt::require_source(PACKAGE, may_install, reporter)?;
    let downloads = home.join("download");
    fs::create_dir_all(&downloads)?;
    let fetch = Invocation::parse("apt-get source --only-source --download-only").arg(PACKAGE);
    reporter.run("fetching U-Boot's source", &fetch, Some(&downloads))?;
    let description = description(&downloads)?;
    // An interrupted run leaves an incomplete source under this name only.
    let partial = home.join("source.partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    let unpack = Invocation::parse("dpkg-source --extract")
        .path(&description)
        .path(&partial);
    reporter.run("unpacking U-Boot's source", &unpack, None)?;
    fs::rename(&partial, &source)?;
    Ok(source)
}

/// Returns the file that describes the source package: the newest, since a security update may
/// have been fetched after an earlier run.
fn description(downloads: &Path) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(downloads)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|end| end == "dsc") {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    let newest = found.into_iter().max();
    let (_, path) = newest.with_context(|| format!("no .dsc file in {}", downloads.display()))?;
    Ok(path)
}
