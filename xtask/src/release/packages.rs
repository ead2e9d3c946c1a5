//! The packages of the library crates, unpacked into a workspace of their own.
//!
//! A user gets these files from a registry. Cargo rewrites their manifests, so the checks use
//! them and not the project's own. Each check makes a lock file with the versions that it tests.

use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::console::Console;
use crate::invocation::Invocation;
use crate::workspace::{LIBRARIES, OLDEST_RUST, Workspace, libraries};

/// The files that each package has besides its sources.
const DOCUMENTS: [&str; 3] = ["LICENSE-APACHE", "LICENSE-MIT", "README.md"];

pub(super) struct Packages {
    root: PathBuf,
}

impl Packages {
    /// Packs the library crates, also if they are not committed, and unpacks them.
    pub(super) fn unpack(workspace: &Workspace) -> Result<Self> {
        libraries("cargo package --quiet --no-verify --allow-dirty").run_in(&workspace.root)?;
        let root = workspace.target.join("packages");
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        for name in LIBRARIES {
            let file = format!("{name}-{}.crate", env!("CARGO_PKG_VERSION"));
            unpack(
                &workspace.target.join("package").join(file),
                &root.join(name),
            )?;
        }
        // Some tests compare the code with the documents.
        let documents = root.join("docs");
        remove(&documents)?;
        symlink(workspace.root.join("docs"), &documents).context("cannot link the documents")?;
        fs::write(root.join("Cargo.toml"), manifest()).context("cannot write a manifest")?;
        remove(&root.join("Cargo.lock"))?;
        Ok(Self { root })
    }

    /// Builds them without features, then runs their tests. Cargo chooses dependencies that
    /// support the oldest Rust.
    pub(super) fn test_with_oldest_rust(&self) -> Result<()> {
        let cargo = |line: &str| Invocation::parse(&format!("cargo +{OLDEST_RUST} {line}"));
        if !cargo("--version").succeeds() {
            let why = format!("skipped: Rust {OLDEST_RUST} is not installed");
            Console { to_stderr: false }.line(&why);
            return Ok(());
        }
        let lock = Invocation::parse("cargo generate-lockfile --quiet");
        lock.set("CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS", "fallback")
            .run_in(&self.root)?;
        cargo("build --workspace --no-default-features").run_in(&self.root)?;
        cargo("test --workspace --no-fail-fast --features linux --lib --tests").run_in(&self.root)
    }

    /// Compiles them with the oldest versions that their manifests allow.
    pub(super) fn check_with_oldest_dependencies(&self) -> Result<()> {
        let lock = Invocation::parse("cargo +nightly update -Z direct-minimal-versions");
        lock.run_in(&self.root)?;
        let check = Invocation::parse("cargo check --locked --workspace --all-features");
        check.run_in(&self.root)
    }
}

/// Unpacks one package into an empty directory, and checks that it has its documents.
///
/// `--touch` gives the files the present time. In the package all have one fixed time, so cargo
/// would not compile a changed file again.
fn unpack(package: &Path, directory: &Path) -> Result<()> {
    remove(directory)?;
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    Invocation::parse("tar --extract --gzip --touch --strip-components 1 --file")
        .path(package)
        .run_in(directory)?;
    for document in DOCUMENTS {
        let is_there = directory.join(document).is_file();
        ensure!(is_there, "{} has no {document}", package.display());
    }
    Ok(())
}

/// Removes a directory, a file or a link, if it is there.
fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The manifest of a workspace whose packages depend on each other, not on a registry's.
fn manifest() -> String {
    let mut manifest = format!("[workspace]\nresolver = \"2\"\nmembers = {LIBRARIES:?}\n");
    manifest.push_str("\n[patch.crates-io]\n");
    for name in LIBRARIES {
        let _ = writeln!(manifest, "{name} = {{ path = \"{name}\" }}");
    }
    manifest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_take_each_other_from_their_workspace() {
        let manifest: toml::Table = manifest().parse().unwrap();
        for name in LIBRARIES {
            let path = &manifest["patch"]["crates-io"][name]["path"];
            assert_eq!(path.as_str(), Some(name));
        }
        let members = manifest["workspace"]["members"].as_array().unwrap();
        assert_eq!(members.len(), LIBRARIES.len());
    }

    #[test]
    fn a_package_without_a_licence_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let pack = |files: &[&str]| {
            for file in files {
                fs::create_dir_all(path("x-1")).unwrap();
                fs::write(path("x-1").join(file), "").unwrap();
            }
            let tar = Invocation::parse("tar --create --gzip --file").path(&path("x.crate"));
            tar.arg("x-1").run_in(directory.path()).unwrap();
            unpack(&path("x.crate"), &path("x"))
        };
        let error = pack(&["README.md", "LICENSE-APACHE"]).unwrap_err();
        assert!(error.to_string().ends_with("x.crate has no LICENSE-MIT"));
        pack(&DOCUMENTS).unwrap();
        assert!(path("x/LICENSE-MIT").is_file());
    }
}
