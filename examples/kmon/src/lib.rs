//! KMON: a monitor of partitions over shared memory.
//!
//! The operator's commands are those of the paper: `kmconsole N` sends typed text to instance N,
//! `kmexitconsole` returns to KMON, and `kmmonitorall` shows processor, memory and network of every
//! instance.
//!
//! | module        | one purpose                                              |
//! |---------------|----------------------------------------------------------|
//! | `cli`         | KMON's own command line                                  |
//! | `config`      | the configuration file                                   |
//! | `monitor`     | the instances, and how they start and end                |
//! | `rundir`      | the files that one KMON leaves for the next              |
//! | `instance`    | one instance: threads, state, output                     |
//! | `disklog`     | logs on disk                                             |
//! | `kind`        | the kinds of instances and their settings                |
//! | `backend`     | starts, watches and ends what an instance consists of    |
//! | `embedded`    | instances that are processes of this machine             |
//! | `console`     | sends what the operator types to an instance             |
//! | `commands`    | the commands at the prompt                               |
//! | `front`       | reads commands from a terminal or a script               |
//! | `script`      | the lines of a script                                    |
//! | `notices`     | messages that no command asked for                       |
//! | `terminal`    | the operator's terminal                                  |
//! | `setup`       | starts the monitor as the command line says              |
//! | `text`        | formats numbers, and escapes text of instances           |
//! | `interrupt`   | reports `^C` to KMON's commands                          |
//!
//! Each instance has a thread that communicates with it. The front end never waits for an instance
//! that does not answer, and no instance waits for another.

mod allowance;
mod backend;
mod cli;
mod commands;
mod config;
mod console;
mod disklog;
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
        Err(error) if is_help(error.kind()) => {
            // A reader that closes the pipe before the end of the help is not a failure.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => return report_error(&format!("{}; try --help", cli::one_line(&error)), 2),
    };
    if let Some(cli::Inner::InstanceInit(args)) = &cli.inner {
        return embedded::init::run(args);
    }
    let end = setup::monitor(&cli);
    terminal::restore();
    end.unwrap_or_else(|error| report_error(&format!("{error:#}"), 1))
}

fn is_help(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

fn report_error(what: &str, code: u8) -> ExitCode {
    // Without standard error, only the exit status reports it.
    let _ = writeln!(std::io::stderr(), "kmon: {}", text::escaped(what));
    ExitCode::from(code)
}
