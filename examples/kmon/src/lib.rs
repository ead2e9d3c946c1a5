//! KMON: a monitor of partitions over shared memory.
//!
//! The operator's commands are those of the paper: `kmconsole N` sends typed text to instance N,
//! `kmexitconsole` returns to KMON, and `kmmonitorall` shows processor, memory and network of every
//! instance.
//!
//! One server for each run directory owns the instances. Prompts, scripts and single commands are
//! its clients; they speak with it over HTTP on a Unix socket.
//!
//! | module        | one purpose                                              |
//! |---------------|----------------------------------------------------------|
//! | `setup`       | runs a client as the command line says                   |
//! | `front`       | reads commands from a terminal, a script or a shell      |
//! | `commands`    | the commands                                             |
//! | `console`     | sends what the operator types to an instance             |
//! | `client`      | speaks with the server, and starts it                    |
//! | `printer`     | prints the server's notices for an operator              |
//! | `script`      | the lines of a script                                    |
//! | `terminal`    | the operator's terminal                                  |
//! | `interrupt`   | reports `^C` to the commands                             |
//! | `server`      | owns the instances, and answers the clients              |
//! | `cli`         | KMON's own command line                                  |
//! | `config`      | the configuration file                                   |
//! | `monitor`     | the instances, and how they start and end                |
//! | `instance`    | one instance: threads, state, output                     |
//! | `notices`     | messages of the server that no request asked for         |
//! | `rundir`      | the socket, and the files that one server leaves for the next |
//! | `disklog`     | logs on disk                                             |
//! | `backend`     | starts, watches and ends what an instance consists of    |
//! | `embedded`    | instances that are processes of this machine             |
//! | `kind`        | the kinds of instances and their settings                |
//! | `api`         | the values that the server and its clients exchange      |
//! | `allowance`   | limits how often messages are printed                    |
//! | `text`        | formats numbers, and escapes text of instances           |
//!
//! Each instance has a thread that communicates with it. No client and no instance waits for an
//! instance that does not answer.

mod allowance;
mod api;
mod backend;
mod cli;
mod client;
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
mod printer;
mod rundir;
mod script;
mod server;
mod setup;
mod terminal;
mod text;

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use cli::{Cli, Inner, ServeArgs, ServerOptions};

/// Runs the `kmon` program.
pub fn run() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) if is_help(error.kind()) => {
            // A reader that closes the pipe before the end of the help is not a failure.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => return report_error(&format!("{}; try --help", cli::one_line(&error)), 2),
    };
    let end = match &cli.inner {
        Some(Inner::InstanceInit(args)) => return embedded::init::run(args),
        Some(Inner::Serve(args)) => serve(args, &cli.server),
        Some(Inner::Command(words)) => setup::one(&cli, words.clone()),
        None => setup::many(&cli),
    };
    terminal::restore();
    end.unwrap_or_else(|error| report_error(&format!("{error:#}"), 1))
}

fn parse() -> Result<Cli, clap::Error> {
    let one_shots = commands::one_shots().into_iter();
    let lines = one_shots.map(|(name, _, about)| format!("  {name:<11} {about}\n"));
    let more = format!(
        "Commands for a running server:\n{}\n`kmon COMMAND --help` explains one of them.",
        lines.collect::<String>()
    );
    let matches = Cli::command().after_help(more).try_get_matches()?;
    Cli::from_arg_matches(&matches)
}

fn serve(args: &ServeArgs, outer: &ServerOptions) -> anyhow::Result<ExitCode> {
    if args.openapi {
        let description = server::description()?;
        terminal::write_stdout(description.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    server::run::run(&args.server.clone().or(outer), args.auto)
}

fn is_help(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

fn report_error(what: &str, code: u8) -> ExitCode {
    // Without standard error, only the exit status reports it.
    let _ = writeln!(std::io::stderr(), "kmon: {}", text::escaped(what));
    ExitCode::from(code)
}
