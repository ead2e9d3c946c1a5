//! The loop of a script's commands.
//!
//! Standard output has only the commands' output. A failed command is reported on standard error,
//! and makes the exit status 1.

use std::io::BufReader;
use std::process::ExitCode;

use crate::commands::{Next, Session};
use crate::script::{Front, Reported, Script, print_error};

/// Runs commands from standard input until its end. `failed` is true if something has already
/// failed.
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
            Ok(Next::Continue) => {}
            Err(error) => {
                failed = true;
                report_failure(&error, line.unwrap_or_default(), &mut front);
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

fn report_failure(error: &anyhow::Error, line: &str, front: &mut Front) {
    if error.downcast_ref::<Reported>().is_some() {
        return;
    }
    print_error(&format!("{error:#}"));
    if let Front::Script(script) = front
        && line.split_whitespace().next() == Some("kmconsole")
    {
        match script.skip_console() {
            0 => {}
            n => print_error(&format!(
                "kmconsole: {n} lines up to kmexitconsole were skipped; they were for the instance"
            )),
        }
    }
}
