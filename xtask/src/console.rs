//! The output for progress lines.

use std::io::{self, Write};

/// Standard output, or standard error if standard output carries a JSON document.
#[derive(Clone, Copy)]
pub(crate) struct Console {
    pub(crate) to_stderr: bool,
}

impl Console {
    pub(crate) fn line(self, text: &str) {
        // Ignored: a reader that has closed our output needs no message, and the exit status
        // still reports the result.
        let _ = if self.to_stderr {
            writeln!(io::stderr(), "{text}")
        } else {
            writeln!(io::stdout(), "{text}")
        };
    }
}
