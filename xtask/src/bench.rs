//! `cargo xtask bench`: the measurements.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::invocation::Invocation;

/// Measure the rings beside their peers.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only this bench target; may be given several times
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Further arguments for criterion, such as a filter
    #[arg(last = true, value_name = "ARGS")]
    criterion: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    // `--benches` would also run the library's own empty test harness, which
    // does not know criterion's options.
    let selected = if arguments.only.is_empty() {
        vec!["*".to_owned()]
    } else {
        arguments.only.clone()
    };
    let mut bench = Invocation::parse("cargo bench -p shmem-benches");
    for name in selected {
        bench = bench.arg("--bench").arg(name);
    }
    bench = bench.arg("--");
    for word in &arguments.criterion {
        bench = bench.arg(word);
    }
    Err(bench.command().exec()).context("cannot run cargo")
}
