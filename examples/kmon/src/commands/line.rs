//! Parses a command line.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand};

use anyhow::{anyhow, bail};

use crate::cli::one_line;
use crate::config::InstanceName;
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
    /// Print an instance's unseen output; it remains unseen
    Kmlog(LogArgs),
    /// Print unseen and new output of several instances, until ^C
    Kmwatch(WatchArgs),
    /// End all instances and KMON; with --keep, end only KMON
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
    /// The instance's number
    #[arg(value_name = "N", value_parser = number)]
    pub(super) instance: u8,
    /// Print all output that is kept, not only unseen output
    #[arg(long)]
    pub(super) all: bool,
    /// Print the log of its kernel, in the format of dmesg
    #[arg(long)]
    pub(super) kernel: bool,
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
    /// Leave the instances running; the next KMON finds them
    #[arg(long)]
    pub(super) keep: bool,
}

fn number(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(number) if number >= monitor::FIRST => Ok(number),
        Ok(1) => Err("1 is KMON itself; instances count from 2".into()),
        _ => Err("not an instance number; kmlist lists them".into()),
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
    let Some(name) = words.first().cloned() else {
        return Ok(Parsed::Nothing);
    };
    match Line::try_parse_from(&words) {
        Ok(line) => Ok(Parsed::Command(name, line.command)),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            Ok(Parsed::HelpText(error.render().to_string()))
        }
        Err(error) if error.kind() == ErrorKind::InvalidSubcommand => Err(unknown(&name, &error)),
        Err(error) => bail!("{name}: {}; see {name} --help", one_line(&error)),
    }
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
