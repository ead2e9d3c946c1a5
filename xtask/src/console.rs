//! Where progress is printed.

use std::io::{self, Write};

/// Standard output, unless a JSON document is to have that for itself.
#[derive(Clone, Copy)]
pub(crate) struct Console {
    pub(crate) to_stderr: bool,
}

impl Console {
    pub(crate) fn line(self, text: &str) {
        // Whoever closed our output does not want to hear about it; the exit
        // status still tells.
        let _ = if self.to_stderr {
            writeln!(io::stderr(), "{text}")
        } else {
            writeln!(io::stdout(), "{text}")
        };
    }
}
