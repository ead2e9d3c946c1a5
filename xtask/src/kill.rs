//! `cargo xtask kill`: runs the crash test, a separate program since only it needs the libraries.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::invocation::Invocation;

/// Kill partitions in the middle of their work, and check what they leave
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Arguments {
    /// Arguments of the crash test: see `cargo xtask kill --help`
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    words: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let program = Invocation::parse("cargo run --quiet --package crash-test --");
    let program = arguments.words.iter().fold(program, Invocation::arg);
    Err(program.command().exec()).context("cannot run cargo")
}
