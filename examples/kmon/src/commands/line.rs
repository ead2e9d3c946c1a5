//! Parses a command line.

use std::fmt;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use anyhow::{anyhow, bail};

use super::arguments::Command;
use crate::cli::one_line;
use crate::text;

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

/// Returns true if command `name` takes instances.
pub(crate) fn takes_instances(name: &str) -> bool {
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
        assert!(error("kmconsole two!").contains("not the number or name"));
        assert!(error("kmconsole 1").contains("1 is KMON itself"));
        assert!(error("kmconsole 256").contains("not the number or name"));
        assert!(error("kmhalt 2 1").contains("1 is KMON itself"));
        assert!(error("kmwatch 5-2").contains("lower to the higher"));
        assert!(error("kmexec 2,, true").contains("not the number or name"));
        assert!(error("kmlog 0").contains("not the number or name"));
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
