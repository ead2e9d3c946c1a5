//! The library, built once for all tests of a run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::{package, succeed, Outcome};

/// A built static library.
pub(crate) struct Library {
    pub(crate) path: PathBuf,
    /// The system libraries that a program must link, too.
    pub(crate) system: Vec<String>,
}

/// Builds the library with everything that needs Linux, and with overflow checks and assertions.
pub(crate) fn hosted() -> Outcome<&'static Library> {
    static BUILT: OnceLock<Result<Library, String>> = OnceLock::new();
    get(BUILT.get_or_init(|| build(&[])))
}

/// Builds the library for bootloaders.
pub(crate) fn bare() -> Outcome<&'static Library> {
    static BUILT: OnceLock<Result<Library, String>> = OnceLock::new();
    get(BUILT.get_or_init(|| {
        build(&[
            "--no-default-features",
            "--features",
            "small",
            "--profile",
            "bare",
        ])
    }))
}

fn get(built: &'static Result<Library, String>) -> Outcome<&'static Library> {
    built.as_ref().map_err(|error| error.clone().into())
}

fn build(arguments: &[&str]) -> Result<Library, String> {
    let mut cargo = cargo();
    cargo
        .args(["rustc", "--package", "shmr", "--lib"])
        .args(["--crate-type", "staticlib", "--message-format", "json"])
        .args(arguments)
        .args(["--", "--print", "native-static-libs"]);
    let messages = succeed(&mut cargo).map_err(|failed| {
        let text = failed.message().unwrap_or_default();
        format!("the library does not build: {text}")
    })?;
    let mut path = None;
    let mut system = Vec::new();
    for line in messages.lines() {
        let message: serde_json::Value =
            serde_json::from_str(line).map_err(|error| error.to_string())?;
        let text = message["message"]["message"].as_str().unwrap_or("");
        if let Some(list) = text.strip_prefix("native-static-libs: ") {
            system = list.split_whitespace().map(str::to_owned).collect();
        }
        let files = message["filenames"].as_array().into_iter().flatten();
        path = files
            .filter_map(|file| file.as_str())
            .find(|file| file.ends_with("libshmr.a"))
            .map(PathBuf::from)
            .or(path);
    }
    let path = path.ok_or("cargo names no libshmr.a")?;
    // A build with other features overwrites the file: keep a copy.
    let kept = scratch(&format!("libshmr-{}.a", arguments.len()));
    std::fs::copy(&path, &kept).map_err(|error| error.to_string())?;
    Ok(Library { path: kept, system })
}

/// Returns cargo as a user runs it in the package, without this test's environment.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(package());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&*name);
        }
    }
    cargo
}

/// Returns a path for files of a test. The directory is kept, for inspection.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).expect("cargo's directory for tests can be written");
    }
    path
}
