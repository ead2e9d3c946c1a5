//! Debian packages that commands of this tool need.

use std::io::ErrorKind;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::invocation::Invocation;
use crate::process::to_stderr;

/// The name of a Debian package, and the reason why it is needed.
pub(crate) type Package = (&'static str, &'static str);

/// Makes sure that these Debian packages are installed.
pub(crate) fn require(wanted: &[Package], may_install: bool) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = wanted.iter().map(|(name, _)| *name).collect();
    for _ in 0..ROUNDS {
        let Some(installed) = installed(&names)? else {
            eprintln!(
                "not a Debian system: assuming that it has {}",
                names.join(", ")
            );
            return Ok(());
        };
        let missing: Vec<_> = wanted
            .iter()
            .filter(|(name, _)| !installed.iter().any(|present| present == name))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        install(&missing, may_install)?;
    }
    bail!("these Debian packages conflict: {}", names.join(" "))
}

/// Installing a package can remove another one whose version does not fit: the next round
/// installs the other version.
const ROUNDS: u32 = 3;

/// Returns which of these packages are installed, or `None` if there is no dpkg.
fn installed(names: &[&str]) -> Result<Option<Vec<String>>> {
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Status} ${Package}\n"])
        .args(names)
        // It complains about each unknown package.
        .stderr(Stdio::null())
        .output();
    match query {
        Ok(output) => Ok(Some(parse_installed(&String::from_utf8_lossy(
            &output.stdout,
        )))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("cannot run dpkg-query"),
    }
}

fn parse_installed(listing: &str) -> Vec<String> {
    listing
        .lines()
        .filter_map(|line| line.strip_prefix("installed "))
        .map(str::to_owned)
        .collect()
}

fn install(missing: &[&Package], may_install: bool) -> Result<()> {
    let names: Vec<_> = missing.iter().map(|(name, _)| *name).collect();
    let command = format!(
        "apt-get install -y --no-install-recommends {}",
        names.join(" ")
    );
    if !may_install {
        bail!("missing Debian packages; run as root: {command}");
    }
    eprintln!("installing Debian packages:");
    for (name, reason) in missing {
        eprintln!("  {name}: {reason}");
    }
    // A stale index names files that the archive no longer has.
    for line in ["apt-get update", &command] {
        let line = as_root(line)?;
        let status = line
            .command()
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(to_stderr()?)
            .status();
        ensure!(
            status.is_ok_and(|status| status.success()),
            "`{line}` failed"
        );
    }
    Ok(())
}

/// Returns `line` as a command that runs as root: directly, or through sudo without a password.
pub(crate) fn as_root(line: &str) -> Result<Invocation> {
    if rustix::process::geteuid().is_root() {
        Ok(Invocation::parse(line))
    } else if Invocation::parse("sudo -n true").succeeds() {
        Ok(Invocation::parse(&format!("sudo -n {line}")))
    } else {
        bail!("root is needed; run as root: {line}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_package_is_not_installed() {
        let listing = "installed procps\nconfig-files top\nnot-installed vim-tiny\n";
        assert_eq!(parse_installed(listing), ["procps"]);
    }
}
