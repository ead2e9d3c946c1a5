//! What has to be installed before a group can run.

use std::io::ErrorKind;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::groups::Group;
use crate::invocation::Invocation;
use crate::process::to_stderr;

/// A Debian package and what it is for.
pub(crate) type Package = (&'static str, &'static str);

/// Something that is not a Debian package: how to tell that it is there, and
/// how to get it.
pub(super) struct Tool {
    name: &'static str,
    probe: &'static str,
    install: &'static str,
}

pub(super) const NIGHTLY: Tool = Tool {
    name: "a nightly Rust toolchain",
    probe: "cargo +nightly --version",
    install: "rustup toolchain install nightly --profile minimal",
};

pub(super) const CARGO_FUZZ: Tool = Tool {
    name: "cargo-fuzz",
    probe: "cargo fuzz --version",
    install: "cargo install cargo-fuzz --locked",
};

impl Tool {
    /// Makes sure that the tool is there.
    pub(super) fn require(&self, may_install: bool) -> Result<()> {
        if runs(self.probe) {
            return Ok(());
        }
        ensure!(
            may_install,
            "{} is missing; run: {}",
            self.name,
            self.install
        );
        eprintln!("installing {}: {}", self.name, self.install);
        let installed = Invocation::parse(self.install)
            .command()
            .stdin(Stdio::null())
            .stdout(to_stderr()?)
            .status();
        ensure!(
            installed.is_ok_and(|status| status.success()) && runs(self.probe),
            "{} could not be installed; see: {}",
            self.name,
            self.install
        );
        Ok(())
    }
}

fn runs(line: &str) -> bool {
    Invocation::parse(line)
        .command()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Makes sure that the Debian packages of `groups` are there.
pub(super) fn packages(groups: &[&Group], may_install: bool) -> Result<()> {
    let mut wanted: Vec<_> = groups.iter().flat_map(|group| (group.packages)()).collect();
    wanted.sort_by_key(|(name, _)| *name);
    wanted.dedup_by_key(|(name, _)| *name);
    require(&wanted, may_install)
}

/// Makes sure that these Debian packages, each with its reason, are there.
pub(crate) fn require(wanted: &[Package], may_install: bool) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = wanted.iter().map(|(name, _)| *name).collect();
    for _ in 0..ROUNDS {
        let Some(installed) = installed(&names)? else {
            eprintln!(
                "not a Debian system: taking for granted {}",
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
    bail!(
        "these Debian packages exclude one another: {}",
        names.join(" ")
    )
}

/// Installing a package can remove one that was there, of a version that does not go with
/// it: the next round installs the other version.
const ROUNDS: u32 = 3;

/// Which of these packages are installed; nothing where there is no dpkg.
fn installed(names: &[&str]) -> Result<Option<Vec<String>>> {
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Status} ${Package}\n"])
        .args(names)
        // It complains about each package it never heard of.
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

/// `line`, run as root: by us, or through sudo where that asks nothing.
pub(crate) fn as_root(line: &str) -> Result<Invocation> {
    if rustix::process::geteuid().is_root() {
        Ok(Invocation::parse(line))
    } else if runs("sudo -n true") {
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

    #[test]
    fn a_missing_tool_is_an_error_that_names_the_command() {
        let tool = Tool {
            name: "nothing",
            probe: "false",
            install: "cargo install nothing",
        };
        let error = tool.require(false).unwrap_err().to_string();
        assert_eq!(error, "nothing is missing; run: cargo install nothing");
    }
}
