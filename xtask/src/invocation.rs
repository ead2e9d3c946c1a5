//! A command line that can be run, and shown so that a user can run it.

use std::borrow::Cow;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// A program, its arguments and its environment variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    words: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Invocation {
    /// Splits `line` at white space; meant for literals that need no quoting.
    pub(crate) fn parse(line: &str) -> Self {
        Self {
            words: line.split_whitespace().map(str::to_owned).collect(),
            variables: Vec::new(),
        }
    }

    pub(crate) fn arg(mut self, word: impl Into<String>) -> Self {
        self.words.push(word.into());
        self
    }

    pub(crate) fn path(self, path: &Path) -> Self {
        self.arg(path.display().to_string())
    }

    pub(crate) fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Sets a variable unless the caller's environment sets it.
    pub(crate) fn set_default(self, name: &str, value: &str) -> Self {
        let value = env::var(name).unwrap_or_else(|_| value.to_owned());
        self.set(name, value)
    }

    /// Adds flags to those of the caller's environment.
    pub(crate) fn add_flags(self, name: &str, flags: &str) -> Self {
        let value = match env::var(name) {
            Ok(present) if !present.is_empty() => format!("{present} {flags}"),
            _ => flags.to_owned(),
        };
        self.set(name, value)
    }

    /// Creates a command without the variables that `cargo run` set for this program.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        forget_own_cargo(&mut command);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it in `directory`. It inherits this program's output.
    pub(crate) fn run_in(&self, directory: &Path) -> Result<()> {
        let status = self.command().current_dir(directory).status();
        let status = status.with_context(|| format!("cannot run {self}"))?;
        ensure!(status.success(), "{self}: {status}");
        Ok(())
    }

    /// Returns true if it can be run and exits with success. Its input and output are discarded.
    pub(crate) fn succeeds(&self) -> bool {
        let status = self
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    }
}

/// Formats the line for a shell.
impl fmt::Display for Invocation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.variables {
            write!(out, "{name}={} ", quote(value))?;
        }
        let words: Vec<_> = self.words.iter().map(|word| quote(word)).collect();
        out.write_str(&words.join(" "))
    }
}

fn quote(word: &str) -> Cow<'_, str> {
    shlex::try_quote(word).unwrap_or(Cow::Borrowed(word))
}

/// Removes the variables that `cargo run` set for this package. Otherwise inner cargos would
/// treat them as the user's and rebuild, and shells inside the demo would inherit them.
pub(crate) fn forget_own_cargo(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(describes_own_package) {
            command.env_remove(name);
        }
    }
    if let Some(paths) = env::var_os("LD_LIBRARY_PATH") {
        match users_library_paths(&paths) {
            Some(kept) => command.env("LD_LIBRARY_PATH", kept),
            None => command.env_remove("LD_LIBRARY_PATH"),
        };
    }
}

fn describes_own_package(name: &str) -> bool {
    const PREFIXES: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
    const NAMES: [&str; 5] = [
        "CARGO",
        "CARGO_CRATE_NAME",
        "CARGO_PRIMARY_PACKAGE",
        "OUT_DIR",
        "RUST_RECURSION_COUNT",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Returns `LD_LIBRARY_PATH` without the build directory and the toolchain, which cargo
/// prepends; `None` if nothing is left.
fn users_library_paths(paths: &std::ffi::OsStr) -> Option<OsString> {
    let program = env::current_exe().ok();
    let build = program.as_deref().and_then(Path::parent);
    let cargo = env::var_os("CARGO");
    let toolchain = cargo.as_deref().map(Path::new).and_then(|cargo| {
        let bin = cargo.parent()?;
        bin.parent()
    });
    let kept: Vec<_> = env::split_paths(paths)
        .filter(|path| {
            ![build, toolchain]
                .iter()
                .flatten()
                .any(|own| path.starts_with(own))
        })
        .collect();
    if kept.is_empty() {
        return None;
    }
    env::join_paths(kept).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocation_is_shown_as_a_shell_command() {
        let shown = Invocation::parse("cargo test --test loom_*")
            .set("FLAGS", "--cfg loom")
            .to_string();
        assert_eq!(shown, "FLAGS='--cfg loom' cargo test --test 'loom_*'");
    }

    #[test]
    fn only_this_packages_cargo_variables_are_removed() {
        assert!(describes_own_package("CARGO_PKG_NAME"));
        assert!(describes_own_package("CARGO_MANIFEST_DIR"));
        assert!(!describes_own_package("CARGO_HOME"));
        assert!(!describes_own_package("CARGO_TARGET_DIR"));
    }
}
