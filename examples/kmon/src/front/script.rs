//! The loop of a script's commands.
//!
//! Standard output has the commands' output and nothing else; a command that
//! fails is told on standard error, and the exit status in the end is 1.

use std::io::BufReader;
use std::process::ExitCode;

use crate::commands::{Next, Session};
use crate::script::{Front, Reported, Script, say};

/// Takes commands from standard input until its end; `failed`: something has
/// failed before the first.
pub(crate) fn run(mut session: Session, mut failed: bool) -> anyhow::Result<ExitCode> {
    let mut front = Front::Script(Script::new(BufReader::new(std::io::stdin())));
    while let Some(line) = front.next_line() {
        let line = line.as_deref().map(str::trim);
        let done = match line {
            Ok(line) if line.is_empty() || line.starts_with('#') => continue,
            Ok(line) => session.run_line(line, &mut front),
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        match done {
            Ok(Next::Quit) => break,
            Ok(Next::Leave) => {
                session.monitor.leave_all();
                return Ok(ExitCode::from(u8::from(failed)));
            }
            Ok(Next::GoOn) => {}
            Err(error) => {
                failed = true;
                tell_failure(&error, line.unwrap_or_default(), &mut front);
            }
        }
        if session.interrupt.is_set() {
            session.monitor.halt_all();
            return Ok(ExitCode::from(130));
        }
    }
    session.monitor.halt_all();
    Ok(ExitCode::from(u8::from(failed)))
}

fn tell_failure(error: &anyhow::Error, line: &str, front: &mut Front) {
    if error.downcast_ref::<Reported>().is_some() {
        return;
    }
    say(&format!("{error:#}"));
    if let Front::Script(script) = front
        && line.split_whitespace().next() == Some("kmconsole")
    {
        match script.skip_console() {
            0 => {}
            n => say(&format!(
                "kmconsole: {n} lines up to kmexitconsole were skipped: they were meant for the instance"
            )),
        }
    }
}
