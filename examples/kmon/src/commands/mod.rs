//! The commands at the prompt.
//!
//! | module       | commands                                     |
//! |--------------|----------------------------------------------|
//! | [`line`]     | parses a command line                        |
//! | [`help`]     | `help`                                       |
//! | [`list`]     | `kmlist`                                     |
//! | [`sysinfo`]  | `kmsysinfo`                                  |
//! | [`monitor`]  | `kmmonitorall`                               |
//! | [`exec`]     | `kmexec`                                     |
//! | [`files`]    | `kmput`, `kmget`                             |
//! | [`power`]    | `kmload`, `kmhalt`, `kmreset`, `kmpause`, `kmresume` |
//! | [`output`]   | `kmlog`, `kmwatch`                           |
//!
//! A command prints its result on standard output. It returns its failure as an error, which the
//! caller shows in one line.

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
mod session;
mod sysinfo;

use std::time::Duration;

use anyhow::{Context, bail};

use crate::console;
use crate::script::Front;
use line::{Command, ConsoleArgs, Parsed};
use print::print;

pub(crate) use line::{names, options, takes_number};
pub(crate) use session::Session;

/// What KMON does after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Continue,
    /// End KMON and every instance.
    Quit,
    /// End KMON, and leave the instances running for the next KMON.
    Leave,
}

impl Session {
    /// Runs the command in `line`.
    ///
    /// # Errors
    /// The command's failure, preceded by the command's name.
    pub(crate) fn run_line(&mut self, line: &str, front: &mut Front) -> anyhow::Result<Next> {
        match line::parse(line)? {
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
            Command::Kmsysinfo(args) => sysinfo::run(&args)?,
            Command::Kmconsole(args) => self.console(&args, front)?,
            Command::Kmexitconsole => bail!("not in a console; kmconsole N enters instance N"),
            Command::Kmmonitorall(args) => monitor::run(self, &args)?,
            Command::Kmexec(args) => exec::run(self, args)?,
            Command::Kmput(args) => files::put(self, &args)?,
            Command::Kmget(args) => files::get(self, &args)?,
            Command::Kmload(args) => power::load(self, args)?,
            Command::Kmhalt(args) => power::halt(self, &args)?,
            Command::Kmreset(args) => power::reset(self, &args)?,
            Command::Kmpause(args) => power::pause(self, &args)?,
            Command::Kmresume(args) => power::resume(self, &args)?,
            Command::Kmlog(args) => output::log(self, &args)?,
            Command::Kmwatch(args) => output::watch(self, &args)?,
            Command::Quit(args) if args.keep => return Ok(Next::Leave),
            Command::Quit(_) => return Ok(Next::Quit),
        }
        Ok(Next::Continue)
    }

    fn console(&mut self, args: &ConsoleArgs, front: &mut Front) -> anyhow::Result<()> {
        let instance = self.monitor.instance(args.instance)?;
        instance.require_running()?;
        match front {
            Front::Terminal(terminal) => {
                self.monitor.notices().hold();
                let done = console::session::run(instance, terminal, self.escape);
                self.monitor.notices().release();
                done
            }
            Front::Script(_) => {
                let settle = Duration::from_secs_f64(args.settle);
                console::script::run(instance, front, settle, &self.interrupt)
            }
        }
    }
}
