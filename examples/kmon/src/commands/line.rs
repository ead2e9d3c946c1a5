//! What a line of text means.

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

/// One command; its documentation is its help.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the commands, or one command's arguments
    Help(HelpArgs),
    /// List the instances
    Kmlist(JsonArgs),
    /// Show this machine's processors, memory and network interfaces
    Kmsysinfo(JsonArgs),
    /// Go into an instance: what is typed goes to it until kmexitconsole or the escape key
    Kmconsole(ConsoleArgs),
    /// Leave the console; typed on a line of its own inside
    Kmexitconsole,
    /// Show every instance's network, memory and processor, again and again until ^C
    Kmmonitorall(MonitorArgs),
    /// Run one command in an instance and pass its output and its failure on
    Kmexec(ExecArgs),
    /// Start a new instance, or a halted one again
    Kmload(LoadArgs),
    /// End an instance
    Kmhalt(HaltArgs),
    /// Kill what is left of an instance and start it again on a fresh region
    Kmreset(ResetArgs),
    /// Let an instance's machine stand still
    Kmpause(InstanceArgs),
    /// Let a paused instance go on
    Kmresume(InstanceArgs),
    /// Print what an instance printed while nobody watched; it stays unseen
    Kmlog(LogArgs),
    /// Print several instances' unseen output, and what comes, until ^C
    Kmwatch(WatchArgs),
    /// End all instances and KMON; with --keep, KMON alone
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
    /// In a script: the longest wait for the end of a line's command, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(super) settle: f64,
}

#[derive(Args, Debug)]
pub(super) struct MonitorArgs {
    /// Seconds between two readings
    #[arg(short, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    pub(super) delay: f64,
    /// How many readings [default: until ^C]
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
    /// Kill the command after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(super) timeout: Option<f64>,
    /// Print one line of JSON with the output in it
    #[arg(long)]
    pub(super) json: bool,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    pub(super) command: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct LoadArgs {
    /// A halted instance's number; without one, a new instance
    #[arg(value_name = "N", value_parser = number)]
    pub(super) instance: Option<u8>,
    /// The instance's name
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(super) name: Option<String>,
    /// Show what its kernel says until it runs, however long that takes
    #[arg(long)]
    pub(super) watch: bool,
}

#[derive(Args, Debug)]
pub(super) struct ResetArgs {
    /// The instance's number
    #[arg(value_name = "N", value_parser = number)]
    pub(super) instance: u8,
    /// Show what its kernel says until it runs, however long that takes
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
    /// Print all that is kept, not only what nobody has seen
    #[arg(long)]
    pub(super) all: bool,
    /// Print what its kernel said, as dmesg shows it
    #[arg(long)]
    pub(super) kernel: bool,
}

#[derive(Args, Debug)]
pub(super) struct WatchArgs {
    /// The instances' numbers
    #[arg(value_name = "N", required = true, value_parser = number)]
    pub(super) instances: Vec<u8>,
    /// End after so many seconds
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
        _ => Err("no instance number; kmlist shows them".into()),
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

/// A line, understood.
#[derive(Debug)]
pub(super) enum Parsed {
    Nothing,
    /// A command with the name it was called by.
    Command(String, Command),
    /// The text that `--help` asks for.
    Answer(String),
}

/// Understands `line`.
///
/// # Errors
///
/// One line: what is wrong with it, and where to look.
pub(super) fn parse(line: &str) -> anyhow::Result<Parsed> {
    let Some(words) = shlex::split(line) else {
        bail!("a quote or a backslash at the end of the line has no other half");
    };
    let Some(name) = words.first().cloned() else {
        return Ok(Parsed::Nothing);
    };
    match Line::try_parse_from(&words) {
        Ok(line) => Ok(Parsed::Command(name, line.command)),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            Ok(Parsed::Answer(error.render().to_string()))
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

/// The commands with one line about each.
pub(super) fn table() -> Vec<(String, String)> {
    let line = Line::command();
    let about = |command: &clap::Command| command.get_about().map(ToString::to_string);
    let rows = line.get_subcommands().map(|command| {
        let name = command.get_name().to_owned();
        (name, about(command).unwrap_or_default())
    });
    rows.collect()
}

/// What `NAME --help` says; `None` for a name that is no command.
pub(super) fn long_help(name: &str) -> Option<String> {
    match parse(&format!("{name} --help")) {
        Ok(Parsed::Answer(text)) => Some(text),
        _ => None,
    }
}

/// The commands' names.
pub(crate) fn names() -> Vec<String> {
    table().into_iter().map(|(name, _)| name).collect()
}

/// The options of command `name`.
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

/// Whether command `name` takes instance numbers.
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
    fn an_unknown_command_is_answered_with_the_nearest() {
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
    fn wrong_arguments_are_answered_in_one_line() {
        assert!(
            error("kmconsole").contains("not provided: <N>"),
            "{}",
            error("kmconsole")
        );
        assert!(error("kmconsole two").contains("no instance number"));
        assert!(error("kmconsole 1").contains("1 is KMON itself"));
        assert!(error("kmconsole 256").contains("no instance number"));
        assert!(error("kmmonitorall -d 0").contains("expected seconds"));
        assert!(error("kmmonitorall -n 0").contains("see kmmonitorall --help"));
        assert!(error("kmlist --jsn").contains("--json"));
        assert!(error("kmexec 2").contains("COMMAND"));
        assert!(error("kmexec 2 -- 'x").contains("quote"));
    }

    #[test]
    fn a_command_to_run_keeps_its_own_options() {
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
    fn every_command_explains_itself() {
        for name in names() {
            assert!(long_help(&name).is_some(), "{name}");
        }
        assert!(long_help("nothing").is_none());
    }
}
