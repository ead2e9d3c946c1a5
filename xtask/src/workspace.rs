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

pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Cargo's target directory.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds the workspace. Asks cargo, since only cargo knows `CARGO_TARGET_DIR` and its
    /// configuration files.
    pub(crate) fn find() -> Result<Self> {
        let output = Invocation::parse("cargo metadata --format-version 1 --no-deps")
            .command()
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        ensure!(output.status.success(), "cargo metadata failed");
        let metadata: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
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
