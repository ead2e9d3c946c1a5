//! Parses a command line.

use std::fmt;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand};

use anyhow::{anyhow, bail};
use regex::Regex;

use crate::cli::one_line;
use crate::config::InstanceName;
use crate::disklog::{Query, Stamp};
use crate::{monitor, text};

#[derive(Debug, Parser)]
#[command(
    multicall = true,
    disable_help_subcommand = true,
    disable_version_flag = true
)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

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
    /// Run one command in an instance, print its output, and fail if it fails
    Kmexec(ExecArgs),
    /// Copy files to an instance; a copy that was interrupted continues
    Kmput(PutArgs),
    /// Copy files from an instance; a copy that was interrupted continues
    Kmget(GetArgs),
    /// Start a new instance, or start a halted one again
    Kmload(LoadArgs),
    /// End an instance
    Kmhalt(HaltArgs),
    /// Kill an instance and start it again with a new region
    Kmreset(ResetArgs),
    /// Pause an instance's machine
    Kmpause(InstanceArgs),
    /// Continue a paused instance
    Kmresume(InstanceArgs),
    /// Remove a halted instance with its output; its number can be used again
    Kmrm(InstanceArgs),
    /// Print an instance's unseen output, which remains unseen, or lines of its log on disk
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
pub(super) struct InstanceArgs {
    /// The instance's number
    #[arg(value_name = "N", value_parser = number)]
    pub(super) instance: u8,
}

#[derive(Args, Debug)]
pub(super) struct ConsoleArgs {
    /// The instance's number
    #[arg(value_name = "N", value_parser = number)]
    pub(super) instance: u8,
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
    /// The instance's number
    #[arg(value_name = "N", value_parser = number)]
    pub(super) instance: u8,
    /// Kill the command after this many seconds
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
    /// The instance's number
    #[arg(value_name = "N", value_parser = number)]
    pub(super) instance: u8,
    /// Copy directories with their content
    #[arg(short, long)]
    pub(super) recursive: bool,
    /// Print one line of JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(super) struct LoadArgs {
    /// The number of a halted instance [default: start a new instance]
    #[arg(value_name = "N", value_parser = number)]
    pub(super) instance: Option<u8>,
    /// The instance's name
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(super) name: Option<String>,
    /// Show the kernel's log until the instance runs, without a time limit
    #[arg(long)]
    pub(super) watch: bool,
}

#[derive(Args, Debug)]
pub(super) struct ResetArgs {
    /// The instance's number
    #[arg(value_name = "N", value_parser = number)]
    pub(super) instance: u8,
    /// Show the kernel's log until the instance runs, without a time limit
    #[arg(long)]
    pub(super) watch: bool,
}

#[derive(Args, Debug)]
pub(super) struct HaltArgs {
    /// The instance's number
    #[arg(value_name = "N", value_parser = number)]
    pub(super) instance: u8,
    /// Kill it without asking it first
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Args, Debug)]
pub(super) struct LogArgs {
    /// The instance's number, or 1 for KMON's own notices
    #[arg(value_name = "N", value_parser = number_or_kmon)]
    pub(super) instance: u8,
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
    /// The instances' numbers
    #[arg(value_name = "N", required = true, value_parser = number)]
    pub(super) instances: Vec<u8>,
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

fn number(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(number) if number >= monitor::FIRST => Ok(number),
        Ok(1) => Err("1 is KMON itself; instances count from 2".into()),
        _ => Err("not an instance number; kmlist lists them".into()),
    }
}

fn number_or_kmon(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(kmon_protocol::MONITOR) => Ok(kmon_protocol::MONITOR),
        _ => number(text),
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

/// A command line that cannot be parsed.
#[derive(Debug)]
pub(crate) struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// A parsed line.
#[derive(Debug)]
pub(super) enum Parsed {
    Nothing,
    /// A command, with the name under which the line calls it.
    Command(String, Command),
    /// The help text that `--help` requests.
    HelpText(String),
}

/// Parses `line`.
///
/// # Errors
/// One line: what is wrong, and which help text explains it.
pub(super) fn parse(line: &str) -> anyhow::Result<Parsed> {
    let Some(words) = shlex::split(line) else {
        bail!("a quote is not closed, or the line ends with a backslash");
    };
    parse_words(&words)
}

/// Parses the words of a command.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_words(words: &[String]) -> anyhow::Result<Parsed> {
    let Some(name) = words.first().cloned() else {
        return Ok(Parsed::Nothing);
    };
    match Line::try_parse_from(words) {
        Ok(line) => Ok(Parsed::Command(name, line.command)),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            Ok(Parsed::HelpText(error.render().to_string()))
        }
        Err(error) if error.kind() == ErrorKind::InvalidSubcommand => Err(unknown(&name, &error)),
        Err(error) => {
            let what = format!("{name}: {}; see {name} --help", one_line(&error));
            bail!(UsageError(what))
        }
    }
}

/// Completes the first of `words`, the name of a command on KMON's own command line: `list` becomes
/// `kmlist`.
///
/// # Errors
/// It is not the name of such a command.
pub(super) fn complete_name(words: &mut [String]) -> anyhow::Result<()> {
    let Some(name) = words.first_mut() else {
        return Ok(());
    };
    let known = one_shots().into_iter().find(|(short, _, _)| short == name);
    match known {
        Some((_, whole, _)) => *name = whole,
        None => bail!(UsageError(format!(
            "unknown command `{}`; `kmon --help` lists the commands",
            text::brief(name)
        ))),
    }
    Ok(())
}

/// Returns the commands of KMON's own command line: their names there and at the prompt, and their
/// summaries.
pub(crate) fn one_shots() -> Vec<(String, String, String)> {
    let commands = table()
        .into_iter()
        .filter(|(name, _)| name != "kmexitconsole" && name != "help");
    let shorter = commands.map(|(name, about)| {
        let short = match name.as_str() {
            "kmmonitorall" => "monitor",
            name => name.strip_prefix("km").unwrap_or(name),
        };
        (short.to_owned(), name.clone(), about)
    });
    shorter.collect()
}

fn unknown(name: &str, error: &clap::Error) -> anyhow::Error {
    let nearest = match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::String(nearest)) => Some(nearest),
        Some(ContextValue::Strings(all)) => all.last(),
        _ => None,
    };
    let name = text::brief(name);
    match nearest {
        Some(nearest) => anyhow!("unknown command `{name}`; did you mean {nearest}?"),
        None => anyhow!("unknown command `{name}`; help lists the commands"),
    }
}

/// Returns each command's name and its summary.
pub(super) fn table() -> Vec<(String, String)> {
    let line = Line::command();
    let about = |command: &clap::Command| command.get_about().map(ToString::to_string);
    let rows = line.get_subcommands().map(|command| {
        let name = command.get_name().to_owned();
        (name, about(command).unwrap_or_default())
    });
    rows.collect()
}

/// Returns the text of `NAME --help`; `None` if `NAME` is not a command.
pub(super) fn long_help(name: &str) -> Option<String> {
    match parse(&format!("{name} --help")) {
        Ok(Parsed::HelpText(text)) => Some(text),
        _ => None,
    }
}

/// Returns the names of the commands.
pub(crate) fn names() -> Vec<String> {
    table().into_iter().map(|(name, _)| name).collect()
}

/// Returns the options of command `name`.
pub(crate) fn options(name: &str) -> Vec<String> {
    let line = Line::command();
    let command = line
        .get_subcommands()
        .find(|command| command.get_name() == name);
    let longs = command.map(|command| command.get_arguments().filter_map(clap::Arg::get_long));
    longs
        .into_iter()
        .flatten()
        .map(|long| format!("--{long}"))
        .collect()
}

/// Returns true if command `name` takes instance numbers.
pub(crate) fn takes_number(name: &str) -> bool {
    let line = Line::command();
    let command = line
        .get_subcommands()
        .find(|command| command.get_name() == name);
    let is_number = |argument: &clap::Arg| argument.get_id().as_str().starts_with("instance");
    command.is_some_and(|command| command.get_arguments().any(is_number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: &str) -> String {
        let error = parse(line).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    }

    #[test]
    fn the_parser_is_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn an_unknown_command_is_refused_with_the_nearest_name() {
        assert_eq!(
            error("kmconsol 2"),
            "unknown command `kmconsol`; did you mean kmconsole?"
        );
        assert_eq!(
            error("zzz"),
            "unknown command `zzz`; help lists the commands"
        );
    }

    #[test]
    fn wrong_arguments_are_refused_in_one_line() {
        assert!(
            error("kmconsole").contains("not provided: <N>"),
            "{}",
            error("kmconsole")
        );
        assert!(error("kmconsole two").contains("not an instance number"));
        assert!(error("kmconsole 1").contains("1 is KMON itself"));
        assert!(error("kmconsole 256").contains("not an instance number"));
        assert!(error("kmmonitorall -d 0").contains("expected seconds"));
        assert!(error("kmmonitorall -n 0").contains("see kmmonitorall --help"));
        assert!(error("kmlist --jsn").contains("--json"));
        assert!(error("kmexec 2").contains("COMMAND"));
        assert!(error("kmexec 2 -- 'x").contains("quote"));
        assert!(error("kmlog 2 --since soon").contains("expected a duration"));
        assert!(error("kmlog 2 --grep '('").contains("not a regular expression"));
        assert!(error("kmlog 2 --lines 100001").contains("--lines"));
    }

    #[test]
    fn options_after_the_command_to_run_belong_to_that_command() {
        for line in ["kmexec 2 -- ls -l --json", "kmexec 2 ls -l --json"] {
            let Ok(Parsed::Command(_, Command::Kmexec(args))) = parse(line) else {
                panic!("{line}");
            };
            assert_eq!(
                (args.command.join(" ").as_str(), args.json),
                ("ls -l --json", false)
            );
        }
    }

    #[test]
    fn every_command_has_a_help_text() {
        for name in names() {
            assert!(long_help(&name).is_some(), "{name}");
        }
        assert!(long_help("nothing").is_none());
    }
}
