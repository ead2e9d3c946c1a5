//! The lines of a script: commands, and text for consoles.

use std::fmt;
use std::io::{BufRead, Write};

use anyhow::bail;

use crate::terminal::Terminal;
use crate::text;

/// The source of the commands.
pub(crate) enum Front {
    Terminal(Terminal),
    Script(Script),
}

impl Front {
    /// Returns the next line of a script; `None` for a terminal.
    pub(crate) fn next_line(&mut self) -> Option<anyhow::Result<String>> {
        match self {
            Self::Terminal(_) => None,
            Self::Script(script) => script.next_line(),
        }
    }
}

/// The lines of a script.
pub(crate) struct Script {
    input: Box<dyn BufRead>,
    /// Lines read so far.
    number: usize,
}

impl Script {
    pub(crate) fn new(input: impl BufRead + 'static) -> Self {
        Self {
            input: Box::new(input),
            number: 0,
        }
    }

    /// Returns the next line without its end; an error if it is not text.
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
                bail!("line {n} of the script contains a NUL byte; it was not used")
            }
            Ok(line) => Ok(line.trim_end_matches(['\n', '\r']).to_owned()),
            Err(_) => bail!("line {n} of the script is not UTF-8; it was not used"),
        }
    }

    /// Skips the lines for a console, up to `kmexitconsole` or the end. Returns how many.
    pub(crate) fn skip_console(&mut self) -> usize {
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

/// A failure that standard error already shows.
#[derive(Debug)]
pub(crate) struct Reported;

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the command failed, as reported above")
    }
}

impl std::error::Error for Reported {}

/// Writes one line to standard error. Without standard error, only the exit status reports it.
pub(crate) fn print_error(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", text::escaped(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_not_text_is_reported_by_its_number() {
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
        assert!(error.starts_with("line 3 of the script contains a NUL byte"));
        assert_eq!(next(), Some(Ok("four".into())));
        assert_eq!(next(), None);
    }

    #[test]
    fn the_lines_for_a_refused_console_are_skipped() {
        let mut script = Script::new(&b"ls\nrm x\n kmexitconsole\nkmlist\nquit"[..]);
        assert_eq!(script.skip_console(), 2);
        assert_eq!(script.next_line().unwrap().unwrap(), "kmlist");
        assert_eq!(script.skip_console(), 1);
    }
}
