//! The loop of a script's commands.
//!
//! Standard output has the commands' output and nothing else; a command that
//! fails is told on standard error, and the exit status in the end is 1.

use std::io::{BufRead, BufReader, Write};
use std::process::ExitCode;

use crate::commands::{Front, Next, Session};

/// Takes commands from standard input until its end.
pub(crate) fn run(mut session: Session) -> anyhow::Result<ExitCode> {
    let mut front = Front::Script(Box::new(BufReader::new(std::io::stdin())));
    let mut failed = false;
    while let Some(line) = front.next_line() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match session.run_line(line, &mut front) {
            Ok(Next::Quit) => break,
            Ok(Next::GoOn) => {}
            Err(error) => {
                failed = true;
                // Without standard error the exit status has to do.
                let _ = writeln!(std::io::stderr(), "{error:#}");
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

/// The next line of a script, without its end; what is not UTF-8 is replaced.
pub(crate) fn next_line(script: &mut dyn BufRead) -> Option<String> {
    let mut line = Vec::new();
    match script.read_until(b'\n', &mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => {
            let text = String::from_utf8_lossy(&line);
            Some(text.trim_end_matches(['\n', '\r']).to_owned())
        }
    }
}
