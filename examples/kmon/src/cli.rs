//! KMON's own command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Escape;
use crate::embedded::init::InitArgs;
use crate::text;

/// Monitors partitions over shared memory.
///
/// A server owns the instances; `kmon` starts it if there is none, and shows a prompt. `kmon
/// COMMAND` runs one command of the prompt (`kmlist` is `kmon list`). Instances and server continue
/// when a prompt ends; `quit --all` ends them.
#[derive(Debug, Parser)]
#[command(name = "kmon", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    /// The key that leaves a console [default: ^]]
    #[arg(long, value_name = "KEY", value_parser = parse_escape)]
    pub(crate) escape: Option<Escape>,
    /// The prompt [default: `KMON# `]
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    #[command(subcommand)]
    pub(crate) inner: Option<Inner>,
}

/// The options of a server. Apart from the directory, they are refused if a server already runs.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerOptions {
    /// The guest daemon [default: guestd in the directory of kmon]
    #[arg(long, value_name = "PATH")]
    pub(crate) guestd: Option<PathBuf>,
    /// The doorbell server of machines [default: ivshmem-server in the directory of kmon]
    #[arg(long, value_name = "PATH")]
    pub(crate) ivshmem_server: Option<PathBuf>,
    /// How many instances to start [default: those in the configuration, or 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=127))]
    pub(crate) instances: Option<u8>,
    /// The configuration file [default: kmon.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The directory of the server's socket and of the instances' output; only one server at a time
    /// uses it [default: $XDG_RUNTIME_DIR/kmon, or /tmp/kmon-UID]
    #[arg(long, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,
}

impl ServerOptions {
    /// Returns these options, and those of `other` that are missing here.
    pub(crate) fn or(self, other: &Self) -> Self {
        let other = other.clone();
        Self {
            guestd: self.guestd.or(other.guestd),
            ivshmem_server: self.ivshmem_server.or(other.ivshmem_server),
            instances: self.instances.or(other.instances),
            config: self.config.or(other.config),
            run_dir: self.run_dir.or(other.run_dir),
        }
    }

    /// Returns the names of the given options that only a new server can use.
    pub(crate) fn for_new_server(&self) -> Vec<&'static str> {
        let given = [
            ("--guestd", self.guestd.is_some()),
            ("--ivshmem-server", self.ivshmem_server.is_some()),
            ("--instances", self.instances.is_some()),
            ("--config", self.config.is_some()),
        ];
        let given = given.into_iter().filter(|(_, is_given)| *is_given);
        given.map(|(name, _)| name).collect()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Inner {
    /// Run a server in the foreground, for a service manager
    Serve(ServeArgs),
    #[command(hide = true)]
    InstanceInit(InitArgs),
    /// A command of the prompt, without its `km`.
    #[command(external_subcommand)]
    Command(Vec<String>),
}

#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    /// A client has started this server
    #[arg(long, hide = true)]
    pub(crate) auto: bool,
    /// Print the description of the API
    #[arg(long, hide = true)]
    pub(crate) openapi: bool,
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
