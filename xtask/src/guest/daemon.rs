//! The guest daemon and other programs, linked statically, since an initramfs has no libraries.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::invocation::Invocation;
use crate::job::Reporter;

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Builds the daemon below `directory`. Returns its path.
pub(super) fn build(directory: &Path, reporter: &Reporter) -> Result<PathBuf> {
    cargo("guestd --bin guestd", directory, reporter)?;
    Ok(directory.join(TRIPLE).join("release/guestd"))
}

/// Builds the guest's half of the measurements. Returns its path.
pub(super) fn build_echo(directory: &Path, reporter: &Reporter) -> Result<PathBuf> {
    cargo("guestd --example guest-echo", directory, reporter)?;
    Ok(directory.join(TRIPLE).join("release/examples/guest-echo"))
}

/// Builds the program that contends for locks; see `docs/guests.md`.
pub(super) fn build_contend(directory: &Path, reporter: &Reporter) -> Result<PathBuf> {
    cargo("shmem-contend --bin shmem-contend", directory, reporter)?;
    Ok(directory.join(TRIPLE).join("release/shmem-contend"))
}

/// Makes `build` produce programs that a guest can run.
pub(crate) fn statically(build: Invocation) -> Invocation {
    // With a target named, the flags apply to these programs only.
    build
        .arg("--target")
        .arg(TRIPLE)
        .set("RUSTFLAGS", "-Ctarget-feature=+crt-static -Cstrip=symbols")
}

fn cargo(what: &str, directory: &Path, reporter: &Reporter) -> Result<()> {
    let line = format!("cargo build --release --package {what} --target-dir");
    let build = statically(Invocation::parse(&line).path(directory));
    reporter.run(&format!("building {what}"), &build, None)
}
