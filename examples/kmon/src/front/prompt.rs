//! The loop of a person's commands.

use std::io::Write;
use std::process::ExitCode;

use super::editor::{Edited, Editor};
use crate::commands::{Front, Next, Session};
use crate::terminal::{self, Terminal};
use crate::text;

/// Takes commands until the person quits.
pub(crate) fn run(
    mut session: Session,
    terminal: Terminal,
    mut editor: Editor,
    prompt: &str,
) -> anyhow::Result<ExitCode> {
    let mut front = Front::Terminal(terminal);
    while let Front::Terminal(terminal) = &mut front {
        let numbers = session.monitor.instances().map(|instance| instance.number);
        let line = match editor.edit(terminal, prompt, numbers)? {
            Edited::Line(line) => first_of(line, terminal),
            Edited::Cleared => continue,
            Edited::End => break,
        };
        if line.trim().is_empty() {
            continue;
        }
        editor.remember(&line);
        session.interrupt.clear();
        match session.run_line(&line, &mut front) {
            Ok(Next::Quit) => break,
            Ok(Next::GoOn) => {}
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
    session.monitor.halt_all();
    terminal::restore();
    Ok(ExitCode::SUCCESS)
}

/// Of a text pasted in one piece, the first line; the others are typed next.
fn first_of(text: String, terminal: &mut Terminal) -> String {
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
