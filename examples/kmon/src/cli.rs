//! KMON's own command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::Escape;
use crate::embedded::init::InitArgs;
use crate::text;

/// Monitors partitions over shared memory.
///
/// Instances continue to run when KMON is killed or ends by `quit --keep`, and the next KMON finds
/// them. `quit`, `^D` and the end of a script end them.
#[derive(Debug, Parser)]
#[command(name = "kmon", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    /// The guest daemon [default: guestd in the directory of kmon]
    #[arg(long, value_name = "PATH")]
    pub(crate) guestd: Option<PathBuf>,
    /// The server of doorbells of machines [default: ivshmem-server in the directory of kmon]
    #[arg(long, value_name = "PATH")]
    pub(crate) ivshmem_server: Option<PathBuf>,
    /// How many instances to start [default: those in the configuration, or 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=127))]
    pub(crate) instances: Option<u8>,
    /// The configuration file [default: kmon.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The key that leaves a console [default: ^]]
    #[arg(long, value_name = "KEY", value_parser = parse_escape)]
    pub(crate) escape: Option<Escape>,
    /// The directory that keeps the instances and their output for the next KMON; only one KMON at
    /// a time uses it [default: $XDG_RUNTIME_DIR/kmon, or /tmp/kmon-UID]
    #[arg(long, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,
    /// The prompt [default: `KMON# `]
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    #[command(subcommand)]
    pub(crate) inner: Option<Inner>,
}

/// Subcommands with which KMON starts its own program.
#[derive(Debug, Subcommand)]
pub(crate) enum Inner {
    #[command(hide = true)]
    InstanceInit(InitArgs),
}

fn parse_escape(text: &str) -> Result<Escape, String> {
    Escape::try_from(text.to_owned())
}

/// Returns the text of a parser's error in one line.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let paragraph = text.split("\n\nUsage").next().unwrap_or_default();
    let paragraph = paragraph.split("\n\nFor more").next().unwrap_or_default();
    // A word of the input can have any length.
    let words: Vec<_> = paragraph.split_whitespace().map(text::brief).collect();
    let line = words.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}
