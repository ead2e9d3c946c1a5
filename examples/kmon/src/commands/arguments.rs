//! The commands and their arguments.

use std::str::FromStr;

use clap::{Args, Subcommand};
use regex::Regex;

use super::selection::{Key, Selection};
use crate::config::InstanceName;
use crate::disklog::{Query, Stamp};

/// One command; its doc comments are its help text.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the commands, or one command's arguments
    Help(HelpArgs),
    /// List the instances
    Kmlist(JsonArgs),
    /// Show this machine's processors, memory and network interfaces
    Kmsysinfo(JsonArgs),
    /// Enter the console of an instance; kmexitconsole or the escape key leaves it
    Kmconsole(ConsoleArgs),
    /// Leave a console; typed on a line of its own inside the console
    Kmexitconsole,
    /// Show network, memory and processor of every instance, repeatedly until ^C
    Kmmonitorall(MonitorArgs),
    /// Run one command in instances, print its output, and fail if it fails
    Kmexec(ExecArgs),
    /// Copy files to instances; a copy that was interrupted continues
    Kmput(PutArgs),
    /// Copy files from instances; a copy that was interrupted continues
    Kmget(GetArgs),
    /// Start a new instance, or start halted ones again
    Kmload(LoadArgs),
    /// End instances
    Kmhalt(HaltArgs),
    /// Kill instances and start them again, each with a new region
    Kmreset(ResetArgs),
    /// Pause the machines of instances
    Kmpause(InstancesArgs),
    /// Continue paused instances
    Kmresume(InstancesArgs),
    /// Remove halted instances with their output; their numbers can be used again
    Kmrm(InstancesArgs),
    /// Print the output of instances that no console has shown, which then does not count as shown,
    /// or lines of their logs on disk
    Kmlog(LogArgs),
    /// Print unseen and new output of several instances, until ^C
    Kmwatch(WatchArgs),
    /// Leave the prompt; asks whether running instances are ended, too
    #[command(visible_alias = "exit")]
    Quit(QuitArgs),
}

#[derive(Args, Debug)]
pub(super) struct HelpArgs {
    /// The command to explain
    pub(super) command: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct JsonArgs {
    /// Print one line of JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(super) struct InstancesArgs {
    /// The instances: numbers, names, ranges such as 2-5, or all, also separated by commas
    #[arg(value_name = "N", required = true, value_parser = Selection::from_str)]
    pub(super) instances: Vec<Selection>,
}

#[derive(Args, Debug)]
pub(super) struct ConsoleArgs {
    /// The instance's number or name
    #[arg(value_name = "N", value_parser = Key::from_str)]
    pub(super) instance: Key,
    /// Watch without typing
    #[arg(long)]
    pub(super) view: bool,
    /// Take the console from the client that types in it
    #[arg(long, conflicts_with = "view")]
    pub(super) force: bool,
    /// Show all output that is kept first
    #[arg(long)]
    pub(super) scrollback: bool,
    /// In a script: seconds to wait for each line's command to end
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(super) settle: f64,
}

#[derive(Args, Debug)]
pub(super) struct MonitorArgs {
    /// Seconds between two readings
    #[arg(short, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    pub(super) delay: f64,
    /// Number of readings [default: until ^C]
    #[arg(short = 'n', value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) count: Option<u32>,
    /// Print one line of JSON per reading
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(super) struct ExecArgs {
    /// The instances: a number, a name, a range, all, or several of them separated by commas
    #[arg(value_name = "N", value_parser = Selection::from_str)]
    pub(super) instances: Selection,
    /// End the command after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(super) timeout: Option<f64>,
    /// Print one line of JSON that contains the output
    #[arg(long)]
    pub(super) json: bool,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    pub(super) command: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct PutArgs {
    #[command(flatten)]
    pub(super) options: CopyOptions,
    /// The files on this machine, then the file or directory in the instance
    #[arg(value_names = ["LOCAL", "REMOTE"], num_args = 2.., required = true)]
    pub(super) paths: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct GetArgs {
    #[command(flatten)]
    pub(super) options: CopyOptions,
    /// The files in the instance, then the file or directory on this machine
    #[arg(value_names = ["REMOTE", "LOCAL"], num_args = 2.., required = true)]
    pub(super) paths: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct CopyOptions {
    /// The instances: a number, a name, a range, all, or several of them separated by commas
    #[arg(value_name = "N", value_parser = Selection::from_str)]
    pub(super) instances: Selection,
    /// Copy directories with their content
    #[arg(short, long)]
    pub(super) recursive: bool,
    /// Print one line of JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(super) struct LoadArgs {
    /// Halted instances: numbers, names, ranges such as 2-5, or all [default: start a new instance]
    #[arg(value_name = "N", value_parser = Selection::from_str)]
    pub(super) instances: Vec<Selection>,
    /// The instance's name
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(super) name: Option<String>,
    /// Show the kernel's log until the instance runs, without a time limit
    #[arg(long)]
    pub(super) watch: bool,
}

#[derive(Args, Debug)]
pub(super) struct ResetArgs {
    /// The instances: numbers, names, ranges such as 2-5, or all, also separated by commas
    #[arg(value_name = "N", required = true, value_parser = Selection::from_str)]
    pub(super) instances: Vec<Selection>,
    /// Show the kernel's log until the instance runs, without a time limit
    #[arg(long)]
    pub(super) watch: bool,
}

#[derive(Args, Debug)]
pub(super) struct HaltArgs {
    /// The instances: numbers, names, ranges such as 2-5, or all, also separated by commas
    #[arg(value_name = "N", required = true, value_parser = Selection::from_str)]
    pub(super) instances: Vec<Selection>,
    /// Kill it without asking it first
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Args, Debug)]
pub(super) struct LogArgs {
    /// The instances: a number, a name, a range, all, or several of them separated by commas; or 1
    /// for KMON's own notices
    #[arg(value_name = "N", value_parser = Logs::from_str)]
    pub(super) instances: Logs,
    /// Print all output that is kept, not only unseen output; of the log on disk, also what earlier
    /// instances with this number printed
    #[arg(long)]
    pub(super) all: bool,
    /// Print the log of its kernel, in the format of dmesg
    #[arg(long)]
    pub(super) kernel: bool,
    #[command(flatten)]
    pub(super) disk: DiskLogArgs,
}

/// Each of them selects the log on disk.
#[derive(Args, Debug)]
pub(super) struct DiskLogArgs {
    /// Print lines with their times
    #[arg(short, long)]
    pub(super) times: bool,
    /// Print lines since then: 10m, 2h, 14:30, 2026-11-30, '2026-11-30 14:30'
    #[arg(long, value_name = "TIME", value_parser = Stamp::parse_since)]
    pub(super) since: Option<Stamp>,
    /// Print the lines that match this regular expression
    #[arg(long, value_name = "TEXT", value_parser = Query::parse_pattern)]
    pub(super) grep: Option<Regex>,
    /// Print the last lines only [default with --follow, without --since and --grep: 10]
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub(super) lines: Option<u32>,
    /// Continue with new lines until ^C
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Print one line of JSON for each line
    #[arg(long)]
    pub(super) json: bool,
}

impl DiskLogArgs {
    /// Returns true if the log on disk is selected.
    pub(super) fn is_selected(&self) -> bool {
        let selects = self.since.is_some() || self.grep.is_some() || self.lines.is_some();
        selects || self.times || self.follow || self.json
    }
}

#[derive(Args, Debug)]
pub(super) struct WatchArgs {
    /// The instances: numbers, names, ranges such as 2-5, or all, also separated by commas
    #[arg(value_name = "N", required = true, value_parser = Selection::from_str)]
    pub(super) instances: Vec<Selection>,
    /// End after this many seconds
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub(super) time: Option<f64>,
}

#[derive(Args, Debug)]
pub(super) struct QuitArgs {
    /// End all instances and the server, without asking
    #[arg(long)]
    pub(super) all: bool,
    /// Leave the instances and the server running, without asking
    #[arg(long, conflicts_with = "all")]
    pub(super) keep: bool,
}

/// Whose log is meant.
#[derive(Clone, Debug)]
pub(super) enum Logs {
    /// KMON's own notices.
    Kmon,
    Instances(Selection),
}

impl FromStr for Logs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(kmon_protocol::MONITOR) => Ok(Self::Kmon),
            _ => Ok(Self::Instances(text.parse()?)),
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.05..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected seconds from 0.05 to 86400".into()),
    }
}

fn name(text: &str) -> Result<String, String> {
    InstanceName::try_from(text.to_owned()).map(|name| name.0)
}
