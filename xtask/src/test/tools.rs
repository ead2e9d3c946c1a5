//! Rust tools that have to be installed before a group can run.

use std::process::Stdio;

use anyhow::{Result, ensure};

use crate::invocation::Invocation;
use crate::process::to_stderr;
use crate::release;

/// Something that is not a Debian package: how to tell that it is there, and
/// how to get it.
pub(super) struct Tool {
    name: &'static str,
    probe: &'static str,
    install: &'static str,
    /// Returns true if a step uses it.
    needed: fn() -> bool,
    /// Its step prints `skipped: WHY` if it is not installed.
    optional: bool,
}

pub(super) const NIGHTLY: Tool = Tool {
    name: "a nightly Rust toolchain",
    probe: "cargo +nightly --version",
    install: "rustup toolchain install nightly --profile minimal",
    needed: || true,
    optional: false,
};

pub(super) const CARGO_FUZZ: Tool = Tool {
    name: "cargo-fuzz",
    probe: "cargo fuzz --version",
    install: "cargo install cargo-fuzz --locked",
    needed: || true,
    optional: false,
};

pub(super) const OLDEST: Tool = Tool {
    name: "the oldest Rust that the libraries declare",
    probe: "cargo +1.75 --version",
    install: "rustup toolchain install 1.75 --profile minimal",
    needed: || true,
    optional: true,
};

pub(super) const SEMVER_CHECKS: Tool = Tool {
    name: "cargo-semver-checks",
    probe: "cargo semver-checks --version",
    install: "cargo install cargo-semver-checks --locked",
    // It takes long to compile.
    needed: || release::last_release().is_some(),
    optional: false,
};

impl Tool {
    /// Makes sure that the tool is there.
    pub(super) fn require(&self, may_install: bool) -> Result<()> {
        if !(self.needed)() || Invocation::parse(self.probe).succeeds() {
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
            self.optional
                || installed.is_ok_and(|status| status.success())
                    && Invocation::parse(self.probe).succeeds(),
            "{} could not be installed; see: {}",
            self.name,
            self.install
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::OLDEST_RUST;

    const NOTHING: Tool = Tool {
        name: "nothing",
        probe: "false",
        install: "false --locked",
        needed: || true,
        optional: false,
    };

    #[test]
    fn a_missing_tool_is_an_error_that_names_the_command() {
        let tool = NOTHING;
        let error = tool.require(false).unwrap_err().to_string();
        assert_eq!(error, "nothing is missing; run: false --locked");
        let error = tool.require(true).unwrap_err().to_string();
        assert_eq!(error, "nothing could not be installed; see: false --locked");
    }

    #[test]
    fn a_tool_that_is_optional_or_not_needed_may_be_missing() {
        let optional = Tool {
            optional: true,
            ..NOTHING
        };
        optional.require(true).unwrap();
        optional.require(false).unwrap_err();
        let unneeded = Tool {
            needed: || false,
            ..NOTHING
        };
        unneeded.require(false).unwrap();
    }

    #[test]
    fn the_oldest_rust_is_that_of_the_manifests() {
        for line in [OLDEST.probe, OLDEST.install] {
            let words = line.split([' ', '+']);
            assert!(words.into_iter().any(|word| word == OLDEST_RUST), "{line}");
        }
    }
}
