//! KMON: a monitor of partitions over shared memory.
//!
//! The operator's commands are the paper's: `kmconsole N` sends what is typed
//! to instance N, `kmexitconsole` comes back, `kmmonitorall` shows every
//! instance's processor, memory and network.
//!
//! | module        | one purpose                                              |
//! |---------------|----------------------------------------------------------|
//! | `cli`         | KMON's own command line                                  |
//! | `config`      | the configuration file                                   |
//! | `monitor`     | the instances, and how they start and end                |
//! | `rundir`      | what a KMON leaves for the next one                      |
//! | `instance`    | one instance: threads, state, output                     |
//! | `kind`        | what an instance is made of                              |
//! | `body`        | what an instance consists of: started, watched, ended    |
//! | `embedded`    | the processes that are an instance on this machine       |
//! | `console`     | what the operator types into an instance                 |
//! | `commands`    | the commands at the prompt                               |
//! | `front`       | where commands come from: a terminal or a script         |
//! | `script`      | the lines of a script                                    |
//! | `notices`     | what is said while the operator does something else      |
//! | `terminal`    | the operator's terminal                                  |
//! | `setup`       | from the command line to a running monitor               |
//! | `text`        | numbers and foreign text as a person reads them          |
//! | `interrupt`   | `^C` at KMON                                             |
//!
//! A thread per instance talks to it; the front end never waits for one that
//! does not answer, and no instance waits for another.

mod backend;
mod cli;
mod commands;
mod config;
mod console;
mod embedded;
mod front;
mod instance;
mod interrupt;
mod kind;
mod monitor;
mod notices;
mod rundir;
mod script;
mod setup;
mod terminal;
mod text;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

/// Runs the `kmon` program.
pub fn run() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if is_answer(error.kind()) => {
            // Help that nobody reads to its end is no failure.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => return complain(&format!("{}; try --help", cli::one_line(&error)), 2),
    };
    if let Some(cli::Inner::InstanceInit(args)) = &cli.inner {
        return embedded::init::run(args);
    }
    let end = setup::monitor(&cli);
    terminal::restore();
    end.unwrap_or_else(|error| complain(&format!("{error:#}"), 1))
}

fn is_answer(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

fn complain(what: &str, code: u8) -> ExitCode {
    // Without standard error the exit status has to do.
    let _ = writeln!(std::io::stderr(), "kmon: {}", text::escaped(what));
    ExitCode::from(code)
}
