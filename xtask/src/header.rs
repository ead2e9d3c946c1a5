//! `cargo xtask header`: generates include/shmr.h.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::invocation::Invocation;

/// Generate the C header from bindings-c/src
///
/// The header is committed, so that a C program needs no generator. bindings-c/Cargo.toml
/// pins the version of the generator.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write nothing; fail if the header differs from the sources
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let test = Invocation::parse("cargo test --quiet -p shmr --test header");
    let mut command = if arguments.check {
        test.command()
    } else {
        test.set("SHMR_WRITE_HEADER", "1").command()
    };
    if arguments.check {
        command.env_remove("SHMR_WRITE_HEADER");
    }
    let status = command.status().context("cannot run cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
