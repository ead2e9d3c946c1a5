//! The guest daemon as a static program: an initramfs has no libraries.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::invocation::Invocation;
use crate::job::Reporter;

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Builds it below `directory`; gives its path.
pub(super) fn build(directory: &Path, reporter: &Reporter) -> Result<PathBuf> {
    let build = Invocation::parse("cargo build --release --package guestd --target")
        .arg(TRIPLE)
        .arg("--target-dir")
        .path(directory)
        // With a target named, the flags are for the guest's programs alone.
        .set("RUSTFLAGS", "-Ctarget-feature=+crt-static -Cstrip=symbols");
    reporter.run("building guestd", &build, None)?;
    Ok(directory.join(TRIPLE).join("release/guestd"))
}
