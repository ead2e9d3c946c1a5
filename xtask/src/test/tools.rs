//! Rust tools that have to be installed before a group can run.

use std::process::Stdio;

use anyhow::{Result, ensure};

use crate::invocation::Invocation;
use crate::process::to_stderr;

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
        if Invocation::parse(self.probe).succeeds() {
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
            installed.is_ok_and(|status| status.success())
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
