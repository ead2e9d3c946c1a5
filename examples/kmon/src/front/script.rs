//! The loop of a script's commands.
//!
//! Standard output has the commands' output and nothing else; a command that
//! fails is told on standard error, and the exit status in the end is 1.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::ExitCode;

use anyhow::bail;

use crate::commands::{Front, Next, Session};
use crate::text;

/// The lines of a script.
pub(crate) struct Script {
    input: Box<dyn BufRead>,
    /// Lines read so far.
    number: usize,
}

/// A failure of which standard error has the lines already.
#[derive(Debug)]
pub(crate) struct Told;

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it failed as told above")
    }
}

impl std::error::Error for Told {}

impl Script {
    fn new(input: impl BufRead + 'static) -> Self {
        Self {
            input: Box::new(input),
            number: 0,
        }
    }

    /// The next line without its end; an error if it is no text.
    pub(crate) fn next_line(&mut self) -> Option<anyhow::Result<String>> {
        let mut line = Vec::new();
        if !matches!(self.input.read_until(b'\n', &mut line), Ok(1..)) {
            return None;
        }
        self.number += 1;
        Some(self.as_text(line))
    }

    fn as_text(&self, line: Vec<u8>) -> anyhow::Result<String> {
        let n = self.number;
        match String::from_utf8(line) {
            Ok(line) if line.contains('\0') => {
                bail!("line {n} of the script has a NUL byte; it was not used")
            }
            Ok(line) => Ok(line.trim_end_matches(['\n', '\r']).to_owned()),
            Err(_) => bail!("line {n} of the script is not UTF-8; it was not used"),
        }
    }

    /// Skips what was meant for an instance: up to `kmexitconsole` or the end.
    fn skip_console(&mut self) -> usize {
        let mut skipped = 0;
        while let Some(line) = self.next_line() {
            if line.is_ok_and(|line| line.trim() == "kmexitconsole") {
                break;
            }
            skipped += 1;
        }
        skipped
    }
}

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
    if error.downcast_ref::<Told>().is_some() {
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

/// One line on standard error; without it the exit status has to do.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", text::escaped(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_text_is_named_by_its_number() {
        let mut script = Script::new(&b"one\r\n\xff\nth\0ree\nfour"[..]);
        let mut next = || {
            script
                .next_line()
                .map(|line| line.map_err(|e| e.to_string()))
        };
        assert_eq!(next(), Some(Ok("one".into())));
        let error = next().unwrap().unwrap_err();
        assert_eq!(error, "line 2 of the script is not UTF-8; it was not used");
        let error = next().unwrap().unwrap_err();
        assert!(error.starts_with("line 3 of the script has a NUL byte"));
        assert_eq!(next(), Some(Ok("four".into())));
        assert_eq!(next(), None);
    }

    #[test]
    fn the_lines_of_a_refused_console_are_skipped() {
        let mut script = Script::new(&b"ls\nrm x\n kmexitconsole\nkmlist\nquit"[..]);
        assert_eq!(script.skip_console(), 2);
        assert_eq!(script.next_line().unwrap().unwrap(), "kmlist");
        assert_eq!(script.skip_console(), 1);
    }
}
