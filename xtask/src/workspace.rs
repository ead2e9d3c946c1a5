//! The directories of the workspace and of its build output.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::invocation::Invocation;

/// The library crates, lowest first; each has a directory of the same name.
pub(crate) const LIBRARIES: [&str; 4] = [
    "shmem-core",
    "shmem-registry",
    "shmem-sync",
    "shmem-channel",
];

/// Their `rust-version`.
pub(crate) const OLDEST_RUST: &str = "1.75";

/// `line` with `-p` for each library crate.
pub(crate) fn libraries(line: &str) -> Invocation {
    LIBRARIES
        .iter()
        .fold(Invocation::parse(line), |line, name| {
            line.arg("-p").arg(*name)
        })
}

pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Cargo's target directory.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds the workspace. Asks cargo, since only cargo knows `CARGO_TARGET_DIR` and its
    /// configuration files.
    pub(crate) fn find() -> Result<Self> {
        let metadata = metadata()?;
        let path = |key: &str| -> Result<PathBuf> {
            let value = metadata[key].as_str();
            Ok(value
                .with_context(|| format!("cargo metadata has no {key}"))?
                .into())
        };
        Ok(Self {
            root: path("workspace_root")?,
            target: path("target_directory")?,
        })
    }
}

/// What cargo says of the workspace's own packages.
pub(crate) fn metadata() -> Result<serde_json::Value> {
    let output = Invocation::parse("cargo metadata --format-version 1 --no-deps")
        .command()
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo metadata failed");
    serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")
}
