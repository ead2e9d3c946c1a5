//! The commands at the prompt.
//!
//! | module       | commands                                     |
//! |--------------|----------------------------------------------|
//! | [`line`]     | parses a command line                        |
//! | [`arguments`] | the commands and their arguments            |
//! | [`several`]  | runs a command for several instances         |
//! | [`selection`] | which instances a command acts on           |
//! | [`help`]     | `help`                                       |
//! | [`list`]     | `kmlist`                                     |
//! | [`sysinfo`]  | `kmsysinfo`                                  |
//! | [`monitor`]  | `kmmonitorall`                               |
//! | [`exec`]     | `kmexec`                                     |
//! | [`files`]    | `kmput`, `kmget`                             |
//! | [`power`]    | `kmload`, `kmhalt`, `kmreset`, `kmpause`, `kmresume`, `kmrm` |
//! | [`output`]   | `kmlog`, `kmwatch`                           |
//! | [`disklog`]  | `kmlog` with options for the log on disk     |
//! | [`reading`]  | the lines that it prints                     |
//!
//! A command prints its result on standard output. It returns its failure as an error, which the
//! caller shows in one line.

mod arguments;
mod disklog;
mod exec;
mod files;
mod help;
mod line;
mod list;
mod monitor;
mod output;
mod power;
mod print;
mod rates;
mod reading;
mod selection;
mod session;
mod several;
mod sysinfo;

use std::time::Duration;

use anyhow::{Context, bail};

use crate::api::console::{Mode, Start};
use crate::console::{self, Wanted};
use crate::script::Front;
use arguments::{Command, ConsoleArgs};
use line::Parsed;
use print::print;

pub(crate) use line::{UsageError, names, one_shots, options, takes_instances};
pub(crate) use session::Session;
pub(crate) use several::CommandFailed;

/// What the client does after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Continue,
    /// Leave, after asking whether running instances are ended, too.
    Quit,
    /// End all instances and the server.
    QuitAll,
    /// Leave, and let the instances and the server run.
    Leave,
}

impl Session {
    /// Runs the command in `line`.
    ///
    /// # Errors
    /// The command's failure, preceded by the command's name.
    pub(crate) fn run_line(&mut self, line: &str, front: &mut Front) -> anyhow::Result<Next> {
        self.run_parsed(line::parse(line)?, front)
    }

    /// Runs one command from KMON's own command line, without the `km` of its name.
    ///
    /// # Errors
    /// As [`Session::run_line`].
    pub(crate) fn run_words(
        &mut self,
        mut words: Vec<String>,
        front: &mut Front,
    ) -> anyhow::Result<Next> {
        let short = words.first().cloned().unwrap_or_default();
        line::complete_name(&mut words)?;
        let parsed = match line::parse_words(&words)? {
            Parsed::HelpText(text) => {
                let usage = |name: &str| format!("Usage: {name}");
                Parsed::HelpText(text.replace(&usage(&words[0]), &usage(&format!("kmon {short}"))))
            }
            parsed => parsed,
        };
        self.run_parsed(parsed, front)
    }

    fn run_parsed(&mut self, parsed: Parsed, front: &mut Front) -> anyhow::Result<Next> {
        match parsed {
            Parsed::Nothing => Ok(Next::Continue),
            Parsed::HelpText(text) => {
                print(&text)?;
                Ok(Next::Continue)
            }
            Parsed::Command(name, command) => {
                self.run(command, front).with_context(|| name.to_owned())
            }
        }
    }

    fn run(&mut self, command: Command, front: &mut Front) -> anyhow::Result<Next> {
        match command {
            Command::Help(args) => help::run(&args)?,
            Command::Kmlist(args) => list::run(self, &args)?,
            Command::Kmsysinfo(args) => sysinfo::run(self, &args)?,
            Command::Kmconsole(args) => self.console(&args, front)?,
            Command::Kmexitconsole => bail!("not in a console; kmconsole N enters instance N"),
            Command::Kmmonitorall(args) => monitor::run(self, &args)?,
            Command::Kmexec(args) => exec::run(self, &args)?,
            Command::Kmput(args) => files::put(self, &args)?,
            Command::Kmget(args) => files::get(self, &args)?,
            Command::Kmload(args) => power::load(self, &args)?,
            Command::Kmhalt(args) => power::halt(self, &args)?,
            Command::Kmreset(args) => power::reset(self, &args)?,
            Command::Kmpause(args) => power::pause(self, &args)?,
            Command::Kmresume(args) => power::resume(self, &args)?,
            Command::Kmlog(args) => output::log(self, &args)?,
            Command::Kmwatch(args) => output::watch(self, &args)?,
            Command::Kmrm(args) => power::remove(self, &args)?,
            Command::Quit(args) if args.keep => return Ok(Next::Leave),
            Command::Quit(args) if args.all => return Ok(Next::QuitAll),
            Command::Quit(_) => return Ok(Next::Quit),
        }
        Ok(Next::Continue)
    }

    fn console(&mut self, args: &ConsoleArgs, front: &mut Front) -> anyhow::Result<()> {
        let wanted = Wanted {
            number: self.number(&args.instance)?,
            mode: if args.view { Mode::View } else { Mode::Write },
            force: args.force,
            from: if args.scrollback {
                Start::Oldest
            } else {
                Start::Seen
            },
        };
        match front {
            Front::Terminal(terminal) => {
                self.printer.hold();
                let done = console::session::run(&self.client, wanted, terminal, self.escape);
                self.printer.release();
                done
            }
            Front::Script(_) => {
                let settle = Duration::from_secs_f64(args.settle);
                console::script::run(&self.client, &wanted, front, settle)
            }
        }
    }
}
