//! The packages of the workspace and of fuzz/, with the root files of their sources.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::invocation::Invocation;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    /// The name by which other crates import it, if it is a library.
    pub(super) library: Option<String>,
    /// The root files of its library, programs, examples and benches; the library's first.
    pub(super) roots: Vec<PathBuf>,
}

/// Asks cargo for the packages of both workspaces.
pub(super) fn find(root: &Path) -> Result<Vec<Package>> {
    let mut packages = list(&root.join("Cargo.toml"))?;
    packages.extend(list(&root.join("fuzz").join("Cargo.toml"))?);
    Ok(packages)
}

fn list(manifest: &Path) -> Result<Vec<Package>> {
    let output = Invocation::parse("cargo metadata --format-version 1 --no-deps --manifest-path")
        .path(manifest)
        .command()
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo metadata failed");
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .map(|package| read(package).context("cargo metadata names no sources"))
        .collect()
}

fn read(package: &Value) -> Option<Package> {
    let mut library = None;
    let mut roots = Vec::new();
    for target in package["targets"].as_array()? {
        let root = PathBuf::from(target["src_path"].as_str()?);
        match target["kind"][0].as_str()? {
            "test" => (),
            "bin" | "example" | "bench" | "custom-build" => roots.push(root),
            _ => {
                library = Some(target["name"].as_str()?.replace('-', "_"));
                roots.insert(0, root);
            }
        }
    }
    Some(Package {
        name: package["name"].as_str()?.to_owned(),
        library,
        roots,
    })
}
