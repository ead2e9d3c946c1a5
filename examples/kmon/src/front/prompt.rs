//! The loop of a person's commands.
//!
//! `^D` and the end of the terminal leave only the prompt. `quit` asks whether running instances are
//! ended, too.

use std::io::Write;
use std::process::ExitCode;

use signal_hook::consts::SIGHUP;

use super::editor::{Edited, Editor};
use super::ends::count_running;
use crate::api::Fate;
use crate::api::instances::{List, Row};
use crate::commands::{Next, Session};
use crate::script::Front;
use crate::terminal::{self, Terminal};
use crate::text;

/// Runs commands until the person quits.
pub(crate) fn run(
    mut session: Session,
    terminal: Terminal,
    mut editor: Editor,
    prompt: &str,
) -> anyhow::Result<ExitCode> {
    let mut front = Front::Terminal(terminal);
    while let Front::Terminal(terminal) = &mut front {
        let line = match editor.edit(terminal, prompt, instances(&session))? {
            Edited::Line(line) => first_line(line, terminal),
            Edited::Cleared => continue,
            Edited::End if terminal.is_gone() => return Ok(ExitCode::from(128 + SIGHUP as u8)),
            Edited::End => break,
        };
        if line.trim().is_empty() {
            continue;
        }
        editor.remember(&line);
        session.interrupt.clear();
        let done = match session.run_line(&line, &mut front) {
            Ok(Next::Continue) => continue,
            Ok(Next::Leave) => break,
            Ok(Next::QuitAll) => session.client.shut_down(Fate::Halt),
            Ok(Next::Quit) => match &mut front {
                Front::Terminal(terminal) => quit(&session, terminal, &mut editor),
                Front::Script(_) => Ok(()),
            },
            Err(error) => {
                show_error(&error);
                continue;
            }
        };
        match done {
            Ok(()) => break,
            Err(error) => show_error(&error),
        }
    }
    terminal::restore();
    Ok(ExitCode::SUCCESS)
}

fn show_error(error: &anyhow::Error) {
    // A terminal that is gone shows nothing.
    let _ = writeln!(
        std::io::stderr(),
        "{}",
        text::escaped(&format!("{error:#}"))
    );
}

/// Returns the numbers and names of the instances, for completion.
fn instances(session: &Session) -> impl Iterator<Item = String> {
    let list: List = match session.client.has_server() {
        true => session.client.get("/v1/instances").unwrap_or_default(),
        false => List::default(),
    };
    let words = |one: Row| [one.number.to_string(), one.name];
    list.instances.into_iter().flat_map(words)
}

/// Asks whether running instances are ended, too, and does so.
fn quit(session: &Session, terminal: &mut Terminal, editor: &mut Editor) -> anyhow::Result<()> {
    let question = match count_running(&session.client) {
        0 => return Ok(()),
        1 => "1 instance runs: end it, too? [y/N] ".to_owned(),
        n => format!("{n} instances run: end them, too? [y/N] "),
    };
    match editor.edit(terminal, &question, std::iter::empty())? {
        Edited::Line(answer) if matches!(answer.trim(), "y" | "Y" | "yes") => {
            session.client.shut_down(Fate::Halt)
        }
        _ => Ok(()),
    }
}

/// Returns the first line of a pasted text; the others become the next input.
fn first_line(text: String, terminal: &mut Terminal) -> String {
    let Some((first, rest)) = text.split_once('\n') else {
        return text;
    };
    let mut typed = rest.replace('\n', "\r");
    if !typed.ends_with('\r') {
        typed.push('\r');
    }
    terminal.leave_pending(typed.as_bytes());
    first.to_owned()
}
