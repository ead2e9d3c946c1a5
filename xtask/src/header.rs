//! `cargo xtask header`: include/shmr.h, made of its sources.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::invocation::Invocation;

/// Make the C header anew from bindings-c/src.
///
/// It is committed, so that a C program needs no generator. The number of the generator is
/// fixed in bindings-c/Cargo.toml.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write nothing; fail if the header is not what the sources say
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
