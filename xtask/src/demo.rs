//! `cargo xtask demo`: runs KMON from a fresh clone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::console::Console;
use crate::guest;
use crate::invocation::{Invocation, forget_own_cargo};
use crate::workspace::Workspace;

/// Build the monitor and the guest daemon, then start the monitor
///
/// Leaves you at the KMON prompt with running instances; `help` lists its
/// commands. If standard input is not a terminal, it is a script of KMON
/// commands. Only KMON writes to standard output, and its exit status is the
/// status of this command.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many instances to start
    #[arg(long, default_value_t = 2, value_name = "N")]
    instances: u32,
    /// The kind of the instances
    #[arg(long, value_enum, default_value_t = Guests::Process)]
    guests: Guests,
    /// Further arguments for kmon
    #[arg(last = true, value_name = "ARGS")]
    kmon: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Guests {
    /// Processes in namespaces of their own
    Process,
    /// Linux guests under QEMU
    Qemu,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let cargo = Invocation::parse(
        "cargo build -p guestd -p kmon --bins --message-format json-render-diagnostics",
    );
    let (kmon, guestd, config) = match arguments.guests {
        Guests::Process => {
            let (kmon, guestd) = build(&cargo)?;
            (kmon, guestd, None)
        }
        Guests::Qemu => {
            let workspace = Workspace::find()?;
            let console = Console { to_stderr: true };
            let base = guest::Base::prepare(&workspace, false, true, console)?;
            // Both have the build settings of the guests' guestd: what they share is built once.
            let (kmon, guestd) = build(&guest::daemon::statically(cargo))?;
            let config = configure(&workspace, &base, &guestd, arguments.instances)?;
            (kmon, guestd, Some(config))
        }
    };
    let mut command = Command::new(&kmon);
    forget_own_cargo(&mut command);
    command.arg("--guestd").arg(guestd);
    match config {
        Some(config) => command.arg("--config").arg(config),
        None => command
            .arg("--instances")
            .arg(arguments.instances.to_string()),
    };
    command.args(&arguments.kmon);
    Err(command.exec()).with_context(|| format!("cannot run {}", kmon.display()))
}

/// Makes the guests' image, and a configuration with `count` of them.
fn configure(
    workspace: &Workspace,
    base: &guest::Base,
    guestd: &Path,
    count: u32,
) -> Result<PathBuf> {
    let image = base.image("demo.cpio", guestd, &[])?;
    let path = workspace.target.join("guest/kmon.toml");
    fs::write(&path, guest::config::config(&image, count))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Builds KMON and guestd. Returns their paths.
///
/// The paths are those that cargo reports, so that any target directory and target triple
/// work.
fn build(cargo: &Invocation) -> Result<(PathBuf, PathBuf)> {
    let output = cargo
        .command()
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the build failed");
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut programs: BTreeMap<_, _> = messages.lines().filter_map(built_program).collect();
    let mut program = |name| {
        let path = programs.remove(name);
        path.with_context(|| format!("the build made no program {name}"))
    };
    Ok((program("kmon")?, program("guestd")?))
}

/// Returns the name and path of a program, if `message` announces one.
fn built_program(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let path = message["executable"].as_str()?;
    let name = message["target"]["name"].as_str()?;
    Some((name.to_owned(), path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_distinguished_from_libraries() {
        let program = r#"{"reason":"compiler-artifact","target":{"name":"kmon"},"executable":"/t/release/kmon"}"#;
        let library =
            r#"{"reason":"compiler-artifact","target":{"name":"anyhow"},"executable":null}"#;
        let expected = ("kmon".to_owned(), PathBuf::from("/t/release/kmon"));
        assert_eq!(built_program(program), Some(expected));
        assert_eq!(built_program(library), None);
        assert_eq!(built_program("not JSON"), None);
    }
}
