//! Runs a client as the command line says: a prompt, a script, or one command.

use std::io::BufReader;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::Cli;
use crate::client::{Client, Joined, follow_notices, join_or_start};
use crate::commands::Session;
use crate::config::Config;
use crate::front;
use crate::front::editor::Editor;
use crate::interrupt::Interrupt;
use crate::printer::NoticePrinter;
use crate::rundir::locate;
use crate::script::{Front, Script};
use crate::terminal::{self, Terminal};

/// Runs the commands of a person or a script until they end.
pub(crate) fn many(cli: &Cli) -> anyhow::Result<ExitCode> {
    let config = Config::read(cli.server.config.as_deref())?;
    let terminal = Terminal::on_stdio()?;
    let interrupt = Interrupt::install()?;
    restore_terminal_on_exit()?;
    let directory = locate(cli.server.run_dir.as_deref())?;
    let mut joined = join_or_start(&directory, &cli.server, &interrupt)?;
    let mut editor = match &terminal {
        Some(terminal) => Some(Editor::new(terminal)?),
        None => None,
    };
    let printer = match &mut editor {
        Some(editor) => editor.notices(),
        None => NoticePrinter::to_stderr(),
    };
    let client = Client::new(directory.clone(), interrupt.clone()).with_revival();
    let client = Arc::new(client);
    let follow = |started| follow_notices(Arc::clone(&client), Arc::clone(&printer), started);
    let followed = match follow(joined != Joined::Running) {
        // The server has ended since, because it was not needed.
        Err(_) if !client.has_server() => {
            joined = join_or_start(&directory, &cli.server, &interrupt)?;
            follow(joined != Joined::Running)?
        }
        followed => followed?,
    };
    let owns_server = joined != Joined::Running;
    let escape = cli.escape.or(config.escape).unwrap_or_default();
    let session = Session::new(client, printer, escape.0);
    match (terminal, editor) {
        (Some(terminal), Some(editor)) => {
            let prompt = cli.prompt.clone().or(config.prompt);
            let prompt = prompt.unwrap_or_else(|| "KMON# ".into());
            front::prompt::run(session, terminal, editor, &prompt)
        }
        _ => {
            let failed = joined == Joined::Started(false);
            front::script::run(session, &followed, failed, owns_server)
        }
    }
}

/// Runs the command that `words` name, which starts no server.
pub(crate) fn one(cli: &Cli, words: Vec<String>) -> anyhow::Result<ExitCode> {
    let config = Config::read(None).unwrap_or_default();
    let terminal = Terminal::on_stdio()?;
    let interrupt = Interrupt::install()?;
    restore_terminal_on_exit()?;
    let client = Arc::new(Client::new(
        locate(cli.server.run_dir.as_deref())?,
        interrupt,
    ));
    let escape = cli.escape.or(config.escape).unwrap_or_default();
    let session = Session::new(client, NoticePrinter::to_stderr(), escape.0);
    let front = match terminal {
        Some(terminal) => Front::Terminal(terminal),
        None => Front::Script(Script::new(BufReader::new(std::io::stdin()))),
    };
    Ok(front::one_shot::run(session, front, words))
}

/// Restores the terminal on a panic and on the signals that end programs.
fn restore_terminal_on_exit() -> anyhow::Result<()> {
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        terminal::restore();
        show(panic);
    }));
    let mut signals = Signals::new([SIGTERM, SIGHUP, SIGQUIT, SIGCONT]).context("signals")?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGCONT {
                terminal::reapply();
                continue;
            }
            terminal::restore();
            // The server and the instances continue.
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}
