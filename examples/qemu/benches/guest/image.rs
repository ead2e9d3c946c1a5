//! The files that `cargo xtask bench` has built for the guest.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The guest's file with the paths of its modules for a virtio console, one a line.
pub(crate) const LISTED: &str = "/etc/bench.load";

/// Finds a file in cargo's target directory, which contains the running bench.
pub(crate) fn built(name: &str) -> Result<PathBuf> {
    let bench = env::current_exe()?;
    let mut places = bench.ancestors().skip(1).map(|place| place.join(name));
    places.find(|path| path.exists()).with_context(|| {
        format!("no {name} in the target directory: run `cargo xtask bench --only guest`")
    })
}

/// Writes the guest's initramfs.
pub(crate) fn write(to: &Path) -> Result<()> {
    // An archive after another one is unpacked over it.
    let mut archive = fs::read(built("guest/initramfs.cpio")?)?;
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(fs::read(built("guest/bench.cpio")?)?);
    fs::write(to, archive)?;
    Ok(())
}
