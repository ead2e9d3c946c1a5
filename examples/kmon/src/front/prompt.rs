//! The loop of a person's commands.
//!
//! A person ends the instances by `quit` or `^D`. When the terminal disappears instead, the
//! instances continue, as when KMON is killed.

use std::io::Write;
use std::process::ExitCode;

use signal_hook::consts::SIGHUP;

use super::editor::{Edited, Editor};
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
    let mut keep = false;
    while let Front::Terminal(terminal) = &mut front {
        let numbers = session.monitor.instances().map(|instance| instance.number);
        let line = match editor.edit(terminal, prompt, numbers)? {
            Edited::Line(line) => first_line(line, terminal),
            Edited::Cleared => continue,
            Edited::End if terminal.is_gone() => {
                session.monitor.leave_all();
                return Ok(ExitCode::from(128 + SIGHUP as u8));
            }
            Edited::End => break,
        };
        if line.trim().is_empty() {
            continue;
        }
        editor.remember(&line);
        session.interrupt.clear();
        match session.run_line(&line, &mut front) {
            Ok(Next::Quit) => break,
            Ok(Next::Leave) => {
                keep = true;
                break;
            }
            Ok(Next::Continue) => {}
            Err(error) => {
                // A terminal that is gone shows nothing.
                let _ = writeln!(
                    std::io::stderr(),
                    "{}",
                    text::escaped(&format!("{error:#}"))
                );
            }
        }
    }
    if keep {
        session.monitor.leave_all();
    } else {
        session.monitor.halt_all();
    }
    terminal::restore();
    Ok(ExitCode::SUCCESS)
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
